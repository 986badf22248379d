// SPDX-License-Identifier: MIT
// Reductions over pairs: a stretch of one row at a time, the gradient by register tiles.
#pragma once
#include "core/simd/exponential.inl"
#include "core/simd/row_kernels.inl"
#include "core/simd/tiles.inl"

// log(1 + e) for e from 0 to 1, to 2 ulp: twice the series of the inverse hyperbolic tangent of e / (2 + e).
inline Vec LogOfOnePlus(Vec e) {
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
inline Vec ExpOrZero(Vec x) { return Select(Less(x, Set(-87.0f)), Set(0.0f), Exp(x)); }

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

inline bool HasGroup(PairGroup group, const PairStretch& pairs) {
  if (pairs.row_class != pairs.row_class) return false;
  for (int64_t c = 0; c < pairs.cols; c += kLanes)
    if (Bits(IsInGroup(group, Set(pairs.row_class), Load(pairs.classes + c)))) return true;
  return false;
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
  if (!HasGroup(g.term.pairs, pairs)) return;
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
  } else if (best > reduced.extreme) {
    reduced.extreme = best;
    reduced.index = static_cast<int32_t>(g.first_col + FirstOfValue(values, pairs.cols, best));
  }
}

void Reduce(const PairStretch& pairs, const ReducedStretch& g) {
  switch (g.term.function) {
    case PairFunction::kLinear:
      return ReduceBy<PairFunction::kLinear>(pairs, g);
    case PairFunction::kHinge:
      return ReduceBy<PairFunction::kHinge>(pairs, g);
    case PairFunction::kSquaredHinge:
      return ReduceBy<PairFunction::kSquaredHinge>(pairs, g);
    case PairFunction::kSoftplus:
      return ReduceBy<PairFunction::kSoftplus>(pairs, g);
    case PairFunction::kCircle:
      return ReduceBy<PairFunction::kCircle>(pairs, g);
    case PairFunction::kLifted:
      return ReduceBy<PairFunction::kLifted>(pairs, g);
  }
}

// Adds scale * d loss / d t of one term to `slopes` [cols].
template <PairFunction kFunction>
void AddSlopes(const PairStretch& pairs, const TermSlopes& g, float* slopes) {
  const bool is_exponential = g.term.reduction == PairReduction::kLogSumExp;
  const Vec zero = Set(0.0f);
  Vec sum = zero, metric_sum = zero, level_sum = zero;
  for (int64_t c = 0; c < pairs.cols; c += kLanes) {
    const Mask group = IsInGroup(g.term.pairs, Set(pairs.row_class), Load(pairs.classes + c));
    if (!Bits(group)) continue;
    const Vec metric = Load(pairs.metrics + c);
    const Vec t = Fma(Set(g.parameters.scale), metric, Set(g.parameters.offset));
    Vec both = t, share = zero;
    if constexpr (kFunction == PairFunction::kLifted) {
      both = LogOfSum(Set(g.row_level), Load(g.col_levels + c));
      share = ShareOfSum(Set(g.row_level), Load(g.col_levels + c));
    }
    const Vec slope = SlopeOf<kFunction>(g.parameters, t, both);
    const Vec shared =
        g.is_shared ? ExpOrZero(Sub(FunctionOf<kFunction>(g.parameters, t, both), Set(g.row_value))) : zero;
    const auto part = [&](bool wanted, Vec level, Vec value, Vec grad) {
      if (!wanted) return zero;
      const Mask counts = g.has_level ? And(group, Less(level, t)) : group;
      Vec weight = grad;
      if (g.is_shared)
        weight = Mul(weight, shared);
      else if (is_exponential)
        weight = Mul(weight, ExpOrZero(Sub(FunctionOf<kFunction>(g.parameters, t, both), value)));
      return Select(counts, Mul(weight, slope), zero);
    };
    const Vec of_row = part(g.of_row, Set(g.row_level), Set(g.row_value), Set(g.row_grad));
    Vec both_sides = of_row;
    if (g.of_col)
      both_sides = Add(of_row, part(true, g.has_level ? Load(g.col_levels + c) : zero, Load(g.col_values + c),
                                    Load(g.col_grads + c)));
    const Vec kept = g.sums_both ? both_sides : of_row;
    sum = Add(sum, kept);
    metric_sum = Add(metric_sum, Select(group, Mul(kept, metric), zero));
    if constexpr (kFunction == PairFunction::kLifted)
      level_sum = Add(level_sum, Select(group, Mul(both_sides, share), zero));
    Store(slopes + c, Fma(Set(g.parameters.scale), both_sides, Load(slopes + c)));
  }
  *g.sum += static_cast<double>(Sum(sum));
  *g.metric_sum += static_cast<double>(Sum(metric_sum));
  *g.level_sum += static_cast<double>(Sum(level_sum));
}

void AddTermSlopes(const PairStretch& pairs, const TermSlopes& g, float* slopes) {
  switch (g.term.function) {
    case PairFunction::kLinear:
      return AddSlopes<PairFunction::kLinear>(pairs, g, slopes);
    case PairFunction::kHinge:
      return AddSlopes<PairFunction::kHinge>(pairs, g, slopes);
    case PairFunction::kSquaredHinge:
      return AddSlopes<PairFunction::kSquaredHinge>(pairs, g, slopes);
    case PairFunction::kSoftplus:
      return AddSlopes<PairFunction::kSoftplus>(pairs, g, slopes);
    case PairFunction::kCircle:
      return AddSlopes<PairFunction::kCircle>(pairs, g, slopes);
    case PairFunction::kLifted:
      return AddSlopes<PairFunction::kLifted>(pairs, g, slopes);
  }
}

bool PairCoefficients(const CoefficientStretch& g) {
  float slopes[kMostStretch];
  for (int64_t c = 0; c < g.pairs.cols; c += kLanes) Store(slopes + c, Set(0.0f));
  if (g.pairs.row_class == g.pairs.row_class)
    for (const TermSlopes& term : g.terms)
      if (term.term.reduction == PairReduction::kSum || term.term.reduction == PairReduction::kLogSumExp)
        AddTermSlopes(g.pairs, term, slopes);
  Vec total = Set(0.0f);
  uint32_t any = 0;
  for (int64_t c = 0; c < g.pairs.cols; c += kLanes) {
    Vec slope = Load(slopes + c);
    const Mask is_zero = Equal(slope, Set(0.0f));
    const Vec metric = Load(g.pairs.metrics + c);
    if (g.metric == Metric::kSqeuclidean)
      slope = Add(slope, slope);
    else if (g.metric == Metric::kEuclidean)
      slope = Select(Equal(metric, Set(0.0f)), Set(0.0f), Div(slope, metric));
    else if (g.metric == Metric::kCosine)
      slope = Negated(slope);
    slope = Select(is_zero, Set(0.0f), slope);  // where there is no column, anything stands as its metric
    any |= ~Bits(is_zero) & ((1u << kLanes) - 1);
    total = Add(total, slope);
    if (g.col_totals != nullptr) Store(g.col_totals + c, Add(Load(g.col_totals + c), slope));
    Store(g.coefficients + c, slope);
  }
  *g.total += static_cast<double>(Sum(total));
  return any != 0;
}

// kHeight rows of coefficients with a panel of `cols` rows of y.
template <int kHeight>
__attribute__((noinline)) void ReducedTile(const ReducedProduct& g, int64_t row) {
  const float* a = g.a + row * g.a_stride;
  float* dx = g.dx + row * kPanel;
  Vec tile[kHeight][kVecs];
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v) tile[r][v] = Load(dx + r * kPanel + v * kLanes);
  const float* panel = g.y_panel;
  for (int64_t c = 0; c < g.cols; ++c, panel += kPanel) {
    Vec b[kVecs];
    for (int v = 0; v < kVecs; ++v) b[v] = Load(panel + v * kLanes);
    for (int r = 0; r < kHeight; ++r) {
      const Vec x = Set(a[r * g.a_stride + c]);
      for (int v = 0; v < kVecs; ++v) tile[r][v] = Fma(x, b[v], tile[r][v]);
    }
  }
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v) Store(dx + r * kPanel + v * kLanes, tile[r][v]);
}

template <class Tile>
inline void ForEachTileThatIsNotZero(const ReducedProduct& g, const Tile& tile) {
  ForEachTile(g.rows, [&](auto height, int64_t row) {
    bool is_zero = true;
    for (int r = 0; r < height.value; ++r) is_zero = is_zero && g.is_zero[row + r];
    if (!is_zero) tile(height, row);
  });
}

void ProductOfReduced(const ReducedProduct& g) {
  ForEachTileThatIsNotZero(g, [&](auto height, int64_t row) { ReducedTile<height.value>(g, row); });
}

void SignsOfReduced(const ReducedProduct& g) {
  ForEachTileThatIsNotZero(g, [&](auto height, int64_t row) {
    constexpr int kHeight = height.value;
    for (int v = 0; v < kVecs; ++v) {
      Vec x[kHeight], dx[kHeight];
      for (int r = 0; r < kHeight; ++r) {
        const int64_t at = (row + r) * kPanel + v * kLanes;
        x[r] = Load(g.x_panel + at);
        dx[r] = Load(g.dx + at);
      }
      for (int64_t c = 0; c < g.cols; ++c) {
        const Vec y = Load(g.y_panel + c * kPanel + v * kLanes);
        for (int r = 0; r < kHeight; ++r)
          dx[r] = Add(dx[r], Signed(Set(g.a[(row + r) * g.a_stride + c]), Sub(x[r], y)));
      }
      for (int r = 0; r < kHeight; ++r) Store(g.dx + (row + r) * kPanel + v * kLanes, dx[r]);
    }
  });
}

// kHeight columns of coefficients with the listed rows of a panel of x.
template <int kHeight>
__attribute__((noinline)) void MirroredTile(const ReducedProduct& g, int64_t col) {
  float* dy = g.dy + col * kPanel;
  Vec tile[kHeight][kVecs];
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v) tile[r][v] = Load(dy + r * kPanel + v * kLanes);
  for (int64_t k = 0; k < g.listed_rows; ++k) {
    const float* a = g.a + g.listed[k] * g.a_stride + col;
    const float* panel = g.x_panel + g.listed[k] * kPanel;
    Vec b[kVecs];
    for (int v = 0; v < kVecs; ++v) b[v] = Load(panel + v * kLanes);
    for (int r = 0; r < kHeight; ++r)
      for (int v = 0; v < kVecs; ++v) tile[r][v] = Fma(Set(a[r]), b[v], tile[r][v]);
  }
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v) Store(dy + r * kPanel + v * kLanes, tile[r][v]);
}

void MirroredProduct(const ReducedProduct& g) {
  ForEachTile(g.cols, [&](auto height, int64_t col) { MirroredTile<height.value>(g, col); });
}

void MirroredSigns(const ReducedProduct& g) {
  for (int64_t c = 0; c < g.cols; ++c)
    for (int v = 0; v < kVecs; ++v) {
      const Vec y = Load(g.y_panel + c * kPanel + v * kLanes);
      float* to = g.dy + c * kPanel + v * kLanes;
      Vec dy = Load(to);
      for (int64_t k = 0; k < g.listed_rows; ++k) {
        const Vec x = Load(g.x_panel + g.listed[k] * kPanel + v * kLanes);
        dy = Add(dy, Signed(Set(g.a[g.listed[k] * g.a_stride + c]), Sub(y, x)));
      }
      Store(to, dy);
    }
}

constexpr ReductionKernels MakeReductionKernels() {
  ReductionKernels k = {};
  k.reduce = Reduce;
  k.coefficients = PairCoefficients;
  k.product = ProductOfReduced;
  k.signs = SignsOfReduced;
  k.mirrored_product = MirroredProduct;
  k.mirrored_signs = MirroredSigns;
  return k;
}
