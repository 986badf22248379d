// SPDX-License-Identifier: MIT
// Reductions over pairs: a stretch of one row at a time, the gradient by register tiles.
#pragma once
#include "core/simd/exponential.inl"
#include "core/simd/pairwise_kernels.inl"
#include "core/simd/reduction_products.inl"
#include "core/simd/row_kernels.inl"

// log(1 + e) for e from 0 to 1, to 2 ulp: twice the series of the inverse hyperbolic tangent of e / (2 + e).
__attribute__((always_inline)) inline Vec LogOfOnePlus(Vec e) {
  const Vec s = Div(e, Add(Set(2.0f), e)), square = Mul(s, s);
  Vec sum = Set(1.0f / 15.0f);
  for (float c : {1.0f / 13.0f, 1.0f / 11.0f, 1.0f / 9.0f, 1.0f / 7.0f, 0.2f, 1.0f / 3.0f})
    sum = Fma(sum, square, Set(c));
  const Vec twice = Add(s, s);
  return Fma(Mul(twice, square), sum, twice);
}

inline Vec Positive(Vec x) { return Max(Set(0.0f), x); }  // NaN stays
inline Vec Negated(Vec x) { return Sub(Set(0.0f), x); }

inline Vec Softplus(Vec x) { return Add(Positive(x), LogOfOnePlus(Exp(Negated(Abs(x))))); }

// log(e^u + e^v); both may be -infinity.
inline Vec LogOfSum(Vec u, Vec v) {
  const Vec apart = Add(Max(u, v), LogOfOnePlus(Exp(Negated(Abs(Sub(u, v))))));
  return Select(Equal(u, v), Add(u, Set(0.69314718f)), apart);
}
// Its slope by u.
inline Vec ShareOfSum(Vec u, Vec v) { return Select(Equal(u, v), Set(0.5f), Logistic(Sub(u, v))); }

// e^x, and 0 where it would be subnormal.
__attribute__((always_inline)) inline Vec ExpOrZero(Vec x) {
  return Select(Less(x, Set(-87.0f)), Set(0.0f), Exp(x));
}

inline Mask IsInGroup(PairGroup group, Vec row_class, Vec col_class) {
  if (group == PairGroup::kPositive) return Equal(col_class, row_class);
  if (group == PairGroup::kNegative) return Less(Set(0.0f), Abs(Sub(col_class, row_class)));
  return Equal(col_class, col_class);
}

// The function of t, and its slope. `both` is log(e^u + e^v) for lifted.
template <PairFunction kFunction>
inline Vec FunctionOf(const PairParameters& p, Vec t, Vec both) {
  if constexpr (kFunction == PairFunction::kHinge) return Positive(t);
  if constexpr (kFunction == PairFunction::kSquaredHinge) return Mul(Positive(t), Positive(t));
  if constexpr (kFunction == PairFunction::kSoftplus) return Softplus(t);
  if constexpr (kFunction == PairFunction::kCircle)
    return Mul(Mul(Set(p.gain), Positive(t)), Sub(t, Set(p.shift)));
  if constexpr (kFunction == PairFunction::kLifted) {
    const Vec sum = Positive(Add(t, both));
    return Mul(sum, sum);
  }
  return t;
}

template <PairFunction kFunction>
inline Vec SlopeOf(const PairParameters& p, Vec t, Vec both) {
  if constexpr (kFunction == PairFunction::kHinge) {
    const Vec step = Select(Less(Set(0.0f), t), Set(1.0f), Set(0.0f));
    return Select(Equal(t, t), step, t);
  }
  if constexpr (kFunction == PairFunction::kSquaredHinge) return Mul(Set(2.0f), Positive(t));
  if constexpr (kFunction == PairFunction::kSoftplus) return Logistic(t);
  if constexpr (kFunction == PairFunction::kCircle) return Mul(Set(p.gain), Positive(t));
  if constexpr (kFunction == PairFunction::kLifted) return Mul(Set(2.0f), Positive(Add(t, both)));
  return Set(1.0f);
}

// How much of a stretch is in a group.
enum class Share { kNone, kSome, kEvery };

inline Share ShareInGroup(PairGroup group, const PairStretch& pairs) {
  if (pairs.row_class != pairs.row_class) return Share::kNone;
  uint32_t any = 0, every = kAllLanes;
  for (int64_t c = 0; c < pairs.cols; c += kLanes) {
    const uint32_t bits = Bits(IsInGroup(group, Set(pairs.row_class), Load(pairs.classes + c)));
    any |= bits;
    every &= bits;
  }
  return any == 0 ? Share::kNone : every == kAllLanes ? Share::kEvery : Share::kSome;
}

// visit(a constant PairFunction).
template <PairFunction kValue>
struct FunctionConstant {
  static constexpr PairFunction value = kValue;
};

template <class Visit>
inline void WithFunction(PairFunction function, const Visit& visit) {
  switch (function) {
    case PairFunction::kLinear:
      return visit(FunctionConstant<PairFunction::kLinear>{});
    case PairFunction::kHinge:
      return visit(FunctionConstant<PairFunction::kHinge>{});
    case PairFunction::kSquaredHinge:
      return visit(FunctionConstant<PairFunction::kSquaredHinge>{});
    case PairFunction::kSoftplus:
      return visit(FunctionConstant<PairFunction::kSoftplus>{});
    case PairFunction::kCircle:
      return visit(FunctionConstant<PairFunction::kCircle>{});
    case PairFunction::kLifted:
      return visit(FunctionConstant<PairFunction::kLifted>{});
  }
}

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
void ReduceBy(const PairStretch& pairs, const ReducedStretch& g) {
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
void AddShared(const PairStretch& pairs, const SharedStretch& g) {
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

// scale * d loss / d t of one term goes to `slopes` [cols], on top of what stands there unless `first`. For
// terms without levels, whose function, and of logsumexp its exponential, is that of both rows.
template <PairFunction kFunction, bool kEvery>
void SharedSlopes(const PairStretch& pairs, const TermSlopes& g, bool first, float* slopes) {
  const bool is_exponential = g.term.reduction == PairReduction::kLogSumExp;
  const Vec row_grad = Set(g.row_grad), scale = Set(g.parameters.scale), zero = Set(0.0f);
  Vec sum = zero, metric_sum = zero;
  for (int64_t c = 0; c < pairs.cols; c += kLanes) {
    Vec metric = Load(pairs.metrics + c);
    const Vec t = Fma(scale, metric, Set(g.parameters.offset));
    Vec slope = SlopeOf<kFunction>(g.parameters, t, t);
    if (is_exponential)
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
void AnySlopes(const PairStretch& pairs, const TermSlopes& g, bool first, float* slopes) {
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
    const auto part = [&](Vec level, Vec value, Vec grad) {
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
      if (is_common && share == Share::kEvery) return SharedSlopes<kFunction, true>(pairs, g, first, slopes);
      if (is_common) return SharedSlopes<kFunction, false>(pairs, g, first, slopes);
    }
    AnySlopes<kFunction>(pairs, g, first, slopes);
  });
}

// Slopes by the metric become slopes by the sum inside it. Where there is no column, anything stands as the
// metric, and 0 as the slope. Returns whether any is not 0.
template <Metric kMetric>
bool FinishSlopes(const CoefficientStretch& g, const float* slopes) {
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

bool PairCoefficients(const CoefficientStretch& g) {
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
  if (first) {
    for (int64_t c = 0; c < g.pairs.cols; c += kLanes) Store(g.coefficients + c, Set(0.0f));
    return false;
  }
  if (g.metric == Metric::kSqeuclidean) return FinishSlopes<Metric::kSqeuclidean>(g, slopes);
  if (g.metric == Metric::kEuclidean) return FinishSlopes<Metric::kEuclidean>(g, slopes);
  if (g.metric == Metric::kCosine) return FinishSlopes<Metric::kCosine>(g, slopes);
  return FinishSlopes<Metric::kDot>(g, slopes);
}

constexpr ReductionKernels MakeReductionKernels() {
  ReductionKernels k = {};
  k.reduce = Reduce;
  k.reduce_shared = ReduceShared;
  k.coefficients = PairCoefficients;
  k.product = ProductOfReduced;
  k.signs = SignsOfReduced;
  k.mirrored_product = MirroredProduct;
  k.mirrored_signs = MirroredSigns;
  return k;
}
