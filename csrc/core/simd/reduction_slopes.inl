// SPDX-License-Identifier: MIT
// From the metrics of a stretch to the coefficients of the gradient, by what the rows were reduced to.
#pragma once
#include "core/simd/pair_functions.inl"

// scale * d loss / d t of one term goes to `slopes` [cols], on top of what stands there unless `first`. For
// terms without levels, whose function, and of logsumexp its exponential, is that of both rows.
template <PairFunction kFunction, bool kEvery, bool kExponential>
void SharedSlopes(const PairStretch& of_pairs, const TermSlopes& of, bool first, float* slopes) {
  const PairStretch pairs = of_pairs;
  const TermSlopes g = of;
  const Vec row_grad = Set(g.row_grad), scale = Set(g.parameters.scale), zero = Set(0.0f);
  Vec sum = zero, metric_sum = zero;
  for (int64_t c = 0; c < pairs.cols; c += kLanes) {
    Vec metric = Load(pairs.metrics + c);
    const Vec t = Fma(scale, metric, Set(g.parameters.offset));
    Vec slope = SlopeOf<kFunction>(g.parameters, t, t);
    if constexpr (kExponential)
      slope = Mul(slope, ExpOrZero(Sub(FunctionOf<kFunction>(g.parameters, t, t), Set(g.row_value))));
    const Vec both_grads = g.of_col ? Add(row_grad, Load(g.col_grads + c)) : row_grad;
    Vec kept = Mul(g.sums_both ? both_grads : row_grad, slope), result = Mul(Mul(scale, both_grads), slope);
    if constexpr (!kEvery) {
      const Mask group = IsInGroup(g.term.pairs, Set(pairs.row_class), Load(pairs.classes + c));
      kept = Select(group, kept, zero);
      result = Select(group, result, zero);
      metric = Select(group, metric, zero);
    }
    sum = Add(sum, kept);
    metric_sum = Fma(kept, metric, metric_sum);
    Store(slopes + c, first ? result : Add(result, Load(slopes + c)));
  }
  *g.sum += static_cast<double>(Sum(sum));
  *g.metric_sum += static_cast<double>(Sum(metric_sum));
}

// The same for any term.
template <PairFunction kFunction>
void AnySlopes(const PairStretch& of_pairs, const TermSlopes& of, bool first, float* slopes) {
  const PairStretch pairs = of_pairs;
  const TermSlopes g = of;
  const bool is_exponential = g.term.reduction == PairReduction::kLogSumExp;
  const Vec zero = Set(0.0f);
  Vec sum = zero, metric_sum = zero, level_sum = zero;
  for (int64_t c = 0; c < pairs.cols; c += kLanes) {
    const Mask group = IsInGroup(g.term.pairs, Set(pairs.row_class), Load(pairs.classes + c));
    const Vec before = first ? zero : Load(slopes + c);
    if (!Bits(group)) {
      Store(slopes + c, before);
      continue;
    }
    const Vec metric = Load(pairs.metrics + c);
    const Vec t = Fma(Set(g.parameters.scale), metric, Set(g.parameters.offset));
    Vec both = t, share = zero, col_share = zero;
    if constexpr (kFunction == PairFunction::kLifted) {
      const Vec u = Set(g.row_level), v = Load(g.col_levels + c);
      both = LogOfSum(u, v);
      share = ShareOfSum(u, v);
      col_share = ShareOfSum(v, u);
    }
    const Vec slope = SlopeOf<kFunction>(g.parameters, t, both);
    const Vec shared =
        g.is_shared ? ExpOrZero(Sub(FunctionOf<kFunction>(g.parameters, t, both), Set(g.row_value))) : zero;
    const auto part = [&](Vec level, Vec value, Vec grad) __attribute__((always_inline)) {
      const Mask counts = g.has_level ? And(group, Less(level, t)) : group;
      Vec weight = grad;
      if (g.is_shared)
        weight = Mul(weight, shared);
      else if (is_exponential)
        weight = Mul(weight, ExpOrZero(Sub(FunctionOf<kFunction>(g.parameters, t, both), value)));
      return Select(counts, Mul(weight, slope), zero);
    };
    const Vec of_row = part(Set(g.row_level), Set(g.row_value), Set(g.row_grad));
    Vec both_sides = of_row;
    if (g.of_col)
      both_sides = Add(of_row, part(g.has_level ? Load(g.col_levels + c) : zero, Load(g.col_values + c),
                                    Load(g.col_grads + c)));
    const Vec kept = g.sums_both ? both_sides : of_row;
    sum = Add(sum, kept);
    metric_sum = Add(metric_sum, Select(group, Mul(kept, metric), zero));
    if constexpr (kFunction == PairFunction::kLifted) {
      level_sum = Add(level_sum, Select(group, Mul(both_sides, share), zero));
      if (g.col_level_sums != nullptr)
        Store(g.col_level_sums + c,
              Add(Load(g.col_level_sums + c), Select(group, Mul(both_sides, col_share), zero)));
    }
    Store(slopes + c, Fma(Set(g.parameters.scale), both_sides, before));
  }
  *g.sum += static_cast<double>(Sum(sum));
  *g.metric_sum += static_cast<double>(Sum(metric_sum));
  *g.level_sum += static_cast<double>(Sum(level_sum));
}

void SlopesOfTerm(const PairStretch& pairs, const TermSlopes& g, Share share, bool first, float* slopes) {
  const bool is_common = !g.has_level && (g.term.reduction == PairReduction::kSum || g.is_shared);
  WithFunction(g.term.function, [&](auto function) {
    constexpr PairFunction kFunction = function.value;
    if constexpr (kFunction != PairFunction::kLifted) {
      const bool every = share == Share::kEvery;
      if (is_common && g.term.reduction == PairReduction::kLogSumExp)
        return every ? SharedSlopes<kFunction, true, true>(pairs, g, first, slopes)
                     : SharedSlopes<kFunction, false, true>(pairs, g, first, slopes);
      if (is_common)
        return every ? SharedSlopes<kFunction, true, false>(pairs, g, first, slopes)
                     : SharedSlopes<kFunction, false, false>(pairs, g, first, slopes);
    }
    AnySlopes<kFunction>(pairs, g, first, slopes);
  });
}

// Slopes by the metric become slopes by the sum inside it. Where there is no column, anything stands as the
// metric, and 0 as the slope. Returns whether any is not 0.
template <Metric kMetric>
bool FinishSlopes(const CoefficientStretch& of, const float* slopes) {
  const CoefficientStretch g = of;
  constexpr bool kDifferences = kMetric == Metric::kSqeuclidean || kMetric == Metric::kEuclidean;
  Vec total = Set(0.0f);
  uint32_t any = 0;
  for (int64_t c = 0; c < g.pairs.cols; c += kLanes) {
    Vec slope = Load(slopes + c);
    const Mask is_zero = Equal(slope, Set(0.0f));
    any |= ~Bits(is_zero) & kAllLanes;
    if constexpr (kMetric == Metric::kSqeuclidean) slope = Add(slope, slope);
    if constexpr (kMetric == Metric::kCosine) slope = Negated(slope);
    if constexpr (kMetric == Metric::kEuclidean) {
      const Vec metric = Load(g.pairs.metrics + c);
      const Vec divided = Select(Equal(metric, Set(0.0f)), Set(0.0f), Div(slope, metric));
      slope = Select(is_zero, Set(0.0f), divided);
    }
    if constexpr (kDifferences) {
      total = Add(total, slope);
      if (g.col_totals != nullptr) Store(g.col_totals + c, Add(Load(g.col_totals + c), slope));
    }
    Store(g.coefficients + c, slope);
  }
  if constexpr (kDifferences) *g.total += static_cast<double>(Sum(total));
  return any != 0;
}

bool FinishSlopes(const CoefficientStretch& g, bool any_terms, const float* slopes) {
  if (!any_terms) {
    for (int64_t c = 0; c < g.pairs.cols; c += kLanes) Store(g.coefficients + c, Set(0.0f));
    return false;
  }
  if (g.metric == Metric::kSqeuclidean) return FinishSlopes<Metric::kSqeuclidean>(g, slopes);
  if (g.metric == Metric::kEuclidean) return FinishSlopes<Metric::kEuclidean>(g, slopes);
  if (g.metric == Metric::kCosine) return FinishSlopes<Metric::kCosine>(g, slopes);
  return FinishSlopes<Metric::kDot>(g, slopes);
}

bool PairCoefficients(const SlopesStretch& g) {
  float slopes[kMostStretch];
  bool first = true;
  for (const TermSlopes& term : g.terms) {
    if (term.term.reduction != PairReduction::kSum && term.term.reduction != PairReduction::kLogSumExp)
      continue;
    const Share share = ShareInGroup(term.term.pairs, g.pairs);
    if (share == Share::kNone) continue;
    SlopesOfTerm(g.pairs, term, share, first, slopes);
    first = false;
  }
  return FinishSlopes(g, !first, slopes);
}
