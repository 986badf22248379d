// SPDX-License-Identifier: MIT
// Sums over pairs with their gradient: values, slopes and coefficients from the metrics in one go.
#pragma once
#include "core/simd/pair_functions.inl"
#include "core/simd/reduction_slopes.inl"

// A term without levels: its number of a pair is that of both rows.
template <PairFunction kFunction, bool kEvery>
void SumOfTerm(const SumStretch& of, int term, bool first, float* slopes) {
  const PairStretch pairs = of.pairs;
  const PairParameters p = of.parameters[term];
  const PairGroup group = of.terms[term].pairs;
  const float factor = of.factors[term];
  const Vec zero = Set(0.0f), weight = Set(p.scale * factor * (of.of_col ? 2.0f : 1.0f));
  Vec values = zero, sum = zero, metric_sum = zero;
  // In a loop of their own: one chain of all steps of softplus is too long for the CPU to begin others beside
  // it.
  float exponentials[kFunction == PairFunction::kSoftplus ? kMostStretch : 1];
  if constexpr (kFunction == PairFunction::kSoftplus)
    for (int64_t c = 0; c < pairs.cols; c += kLanes)
      Store(exponentials + c, ExpOfSoftplus(Fma(Set(p.scale), Load(pairs.metrics + c), Set(p.offset))));
  for (int64_t c = 0; c < pairs.cols; c += kLanes) {
    Vec metric = Load(pairs.metrics + c);
    const Vec t = Fma(Set(p.scale), metric, Set(p.offset));
    ValueAndSlope both;
    if constexpr (kFunction == PairFunction::kSoftplus)
      both = SoftplusBy(t, Load(exponentials + c));
    else
      both = Both<kFunction>(p, t);
    if constexpr (!kEvery) {
      const Mask counts = IsInGroup(group, Set(pairs.row_class), Load(pairs.classes + c));
      both = {Select(counts, both.value, zero), Select(counts, both.slope, zero)};
      metric = Select(counts, metric, zero);
    }
    values = Add(values, both.value);
    sum = Add(sum, both.slope);
    metric_sum = Fma(both.slope, metric, metric_sum);
    const Vec result = Mul(weight, both.slope);
    Store(slopes + c, first ? result : Add(result, Load(slopes + c)));
  }
  const double times = static_cast<double>(factor) * (of.sums_both ? 2.0 : 1.0);
  double (&sums)[3] = of.sums[term];
  sums[0] += times * static_cast<double>(Sum(sum));
  sums[1] += times * static_cast<double>(Sum(metric_sum));
  sums[2] += times * static_cast<double>(Sum(values));
}

// The part of one level: of the row's, and of the columns' where they have the term too.
template <PairFunction kFunction>
void SumAboveLevel(const SumStretch& of, int term, int64_t level, bool first, float* slopes) {
  const PairStretch pairs = of.pairs;
  const PairParameters p = of.parameters[term];
  const PairGroup group = of.terms[term].pairs;
  const bool of_col = of.of_col, sums_both = of.sums_both;
  const float factor = of.factors[term];
  const float* col_levels = of_col ? of.col_levels + level * of.level_stride : nullptr;
  float* col_sums = of.col_level_sums ? of.col_level_sums + level * of.col_level_stride : nullptr;
  const Vec zero = Set(0.0f), weight = Set(p.scale * factor), row_level = Set(of.row_levels[level]);
  Vec values = zero, sum = zero, metric_sum = zero, row_sum = zero;
  for (int64_t c = 0; c < pairs.cols; c += kLanes) {
    const Mask counts = IsInGroup(group, Set(pairs.row_class), Load(pairs.classes + c));
    const Vec metric = Select(counts, Load(pairs.metrics + c), zero);
    const Vec t = Fma(Set(p.scale), metric, Set(p.offset));
    const ValueAndSlope row = Both<kFunction>(p, Sub(t, row_level));
    const Vec row_slope = Select(counts, row.slope, zero);
    Vec value = row.value, slope = row_slope, kept = row_slope;
    if (of_col) {
      const ValueAndSlope col = Both<kFunction>(p, Sub(t, Load(col_levels + c)));
      const Vec col_slope = Select(counts, col.slope, zero);
      slope = Add(slope, col_slope);
      if (sums_both) value = Add(value, col.value), kept = slope;
      if (col_sums != nullptr) Store(col_sums + c, Fma(Set(factor), col_slope, Load(col_sums + c)));
    }
    values = Add(values, Select(counts, value, zero));
    row_sum = Add(row_sum, row_slope);
    sum = Add(sum, kept);
    metric_sum = Fma(kept, metric, metric_sum);
    const Vec result = Mul(weight, slope);
    Store(slopes + c, first ? result : Add(result, Load(slopes + c)));
  }
  const auto times = static_cast<double>(factor);
  double (&sums)[3] = of.sums[term];
  sums[0] += times * static_cast<double>(Sum(sum));
  sums[1] += times * static_cast<double>(Sum(metric_sum));
  sums[2] += times * static_cast<double>(Sum(values));
  of.level_sums[level] += times * static_cast<double>(Sum(row_sum));
}

bool SumCoefficients(const SumStretch& g) {
  float slopes[kMostStretch];
  bool first = true;
  for (int term = 0; term < kPairTerms; ++term) {
    if (g.terms[term].reduction != PairReduction::kSum) continue;
    const Share share = ShareInGroup(g.terms[term].pairs, g.pairs);
    if (share == Share::kNone) continue;
    WithFunction(g.terms[term].function, [&](auto function) {
      constexpr PairFunction kFunction = function.value;
      if constexpr (kFunction != PairFunction::kLifted) {
        for (int64_t level = 0; level < g.levels; ++level)
          SumAboveLevel<kFunction>(g, term, level, first && level == 0, slopes);
        if (g.levels == 0)
          share == Share::kEvery ? SumOfTerm<kFunction, true>(g, term, first, slopes)
                                 : SumOfTerm<kFunction, false>(g, term, first, slopes);
      }
    });
    first = false;
  }
  return FinishSlopes(g, !first, slopes);
}
