// SPDX-License-Identifier: MIT
// Reductions over pairs: a stretch of one row at a time. What a loop needs is copied first: the compiler
// would read it again behind every store.
#pragma once
#include "core/simd/pair_functions.inl"
#include "core/simd/reduction_products.inl"
#include "core/simd/reduction_slopes.inl"
#include "core/simd/sum_slopes.inl"

inline int64_t FirstOfValue(const float* values, int64_t n, float wanted) {
  for (int64_t i = 0; i < n; i += kLanes)
    if (const uint32_t hits = Bits(Equal(Load(values + i), Set(wanted)))) return i + __builtin_ctz(hits);
  return -1;
}

constexpr float kMostExcess = 30.0f;  // e^30 times the most columns is far from the greatest float

inline double SumOfExponentials(const float* values, int64_t n, float extreme) {
  Vec sum = Set(0.0f);
  for (int64_t i = 0; i < n; i += kLanes) sum = Add(sum, ExpOrZero(Sub(Load(values + i), Set(extreme))));
  return static_cast<double>(Sum(sum));
}

// Values of the pairs that count, and in place of the others what does not change the reduction; of min their
// negatives.
template <PairFunction kFunction>
void ReduceBy(const PairStretch& of_pairs, const ReducedStretch& of) {
  const PairStretch pairs = of_pairs;
  const ReducedStretch g = of;
  ReducedTerm& reduced = *g.reduced;
  const bool is_sum = g.term.reduction == PairReduction::kSum;
  const Vec neutral = Set(is_sum ? 0.0f : -__builtin_inff());
  const Vec sign = Set(g.term.reduction == PairReduction::kMin ? -1.0f : 1.0f);
  float values[kMostStretch];
  Vec largest = neutral, sum = Set(0.0f);
  uint32_t nan = 0;
  int64_t count = 0;
  for (int64_t c = 0; c < pairs.cols; c += kLanes) {
    const Vec t = Fma(Set(g.parameters.scale), Load(pairs.metrics + c), Set(g.parameters.offset));
    Mask counts = IsInGroup(g.term.pairs, Set(pairs.row_class), Load(pairs.classes + c));
    if (g.has_level) counts = And(counts, Less(Set(g.level), t));
    Vec both = t;
    if constexpr (kFunction == PairFunction::kLifted) both = LogOfSum(Set(g.level), Load(g.col_levels + c));
    const Vec value = Select(counts, Mul(sign, FunctionOf<kFunction>(g.parameters, t, both)), neutral);
    nan |= Bits(counts) & ~Bits(Equal(value, value));
    count += __builtin_popcount(Bits(counts));
    if (is_sum) {
      sum = Add(sum, value);
    } else {
      largest = Max(value, largest);  // a NaN keeps `largest`
      Store(values + c, value);
    }
  }
  reduced.count += static_cast<double>(count);
  if (nan) reduced.has_nan = true;
  if (is_sum) {
    reduced.sum += static_cast<double>(Sum(sum));
    return;
  }
  const float best = -Least(Negated(largest));
  if (g.term.reduction == PairReduction::kLogSumExp) {
    // Any number near the greatest value will do as the one that is subtracted.
    if (best > reduced.extreme + kMostExcess) {
      reduced.sum *= __builtin_exp(static_cast<double>(reduced.extreme) - static_cast<double>(best));
      reduced.extreme = best;
    }
    if (reduced.extreme > -__builtin_inff())
      reduced.sum += SumOfExponentials(values, pairs.cols, reduced.extreme);
  } else if (best > reduced.extreme || (best == reduced.extreme && g.first_col < reduced.index)) {
    reduced.extreme = best;
    reduced.index = static_cast<int32_t>(g.first_col + FirstOfValue(values, pairs.cols, best));
  }
}

bool Reduce(const PairStretch& pairs, const ReducedStretch& g) {
  if (ShareInGroup(g.term.pairs, pairs) == Share::kNone) return false;
  WithFunction(g.term.function, [&](auto function) { ReduceBy<function.value>(pairs, g); });
  return true;
}

// Where kEvery, all columns are in the group.
template <PairFunction kFunction, bool kEvery, bool kExponential>
void AddShared(const PairStretch& of_pairs, const SharedStretch& of) {
  const PairStretch pairs = of_pairs;
  const SharedStretch g = of;
  Vec sum = Set(0.0f);
  for (int64_t c = 0; c < pairs.cols; c += kLanes) {
    const Vec t = Fma(Set(g.parameters.scale), Load(pairs.metrics + c), Set(g.parameters.offset));
    Vec value = FunctionOf<kFunction>(g.parameters, t, t);
    if constexpr (kExponential) value = ExpOrZero(Sub(value, Set(g.shift)));
    if constexpr (!kEvery)
      value =
          Select(IsInGroup(g.term.pairs, Set(pairs.row_class), Load(pairs.classes + c)), value, Set(0.0f));
    sum = Add(sum, value);
    if (g.col_sums != nullptr) Store(g.col_sums + c, Add(Load(g.col_sums + c), value));
  }
  *g.sum += static_cast<double>(Sum(sum));
}

bool ReduceShared(const PairStretch& pairs, const SharedStretch& g) {
  const Share share = ShareInGroup(g.term.pairs, pairs);
  if (share == Share::kNone) return false;
  WithFunction(g.term.function, [&](auto function) {
    constexpr PairFunction kFunction = function.value;
    const bool every = share == Share::kEvery;
    if constexpr (kFunction == PairFunction::kLifted)
      return;
    else if (g.term.reduction == PairReduction::kLogSumExp)
      every ? AddShared<kFunction, true, true>(pairs, g) : AddShared<kFunction, false, true>(pairs, g);
    else
      every ? AddShared<kFunction, true, false>(pairs, g) : AddShared<kFunction, false, false>(pairs, g);
  });
  return true;
}

constexpr ReductionKernels MakeReductionKernels() {
  ReductionKernels k = {};
  k.reduce = Reduce;
  k.reduce_shared = ReduceShared;
  k.coefficients = PairCoefficients;
  k.sum_coefficients = SumCoefficients;
  k.product = ProductOfReduced;
  k.signs = SignsOfReduced;
  k.mirrored_product = MirroredProduct;
  k.mirrored_signs = MirroredSigns;
  return k;
}
