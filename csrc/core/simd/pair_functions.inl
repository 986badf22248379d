// SPDX-License-Identifier: MIT
// The functions of terms of pairs and their slopes, and which columns belong to a group.
#pragma once
#include "core/simd/exponential.inl"
#include "core/simd/pairwise_kernels.inl"

// Twice the series of the inverse hyperbolic tangent of s: log(1 + e) to 2 ulp for s = e / (2 + e), e from 0
// to 1.
__attribute__((always_inline)) inline Vec TwiceArtanh(Vec s) {
  const Vec square = Mul(s, s);
  Vec sum = Set(1.0f / 15.0f);
  for (float c : {1.0f / 13.0f, 1.0f / 11.0f, 1.0f / 9.0f, 1.0f / 7.0f, 0.2f, 1.0f / 3.0f})
    sum = Fma(sum, square, Set(c));
  const Vec twice = Add(s, s);
  return Fma(Mul(twice, square), sum, twice);
}
__attribute__((always_inline)) inline Vec LogOfOnePlus(Vec e) {
  return TwiceArtanh(Div(e, Add(Set(2.0f), e)));
}

inline Vec Positive(Vec x) { return Max(Set(0.0f), x); }  // NaN stays
inline Vec Negated(Vec x) { return Sub(Set(0.0f), x); }

__attribute__((always_inline)) inline Vec Softplus(Vec x) {
  return Add(Positive(x), LogOfOnePlus(Exp(Negated(Abs(x)))));
}

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

// The function of t, and its slope. `both` is log(e^u + e^v) for lifted.
template <PairFunction kFunction>
__attribute__((always_inline)) inline Vec FunctionOf(const PairParameters& p, Vec t, Vec both) {
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
__attribute__((always_inline)) inline Vec SlopeOf(const PairParameters& p, Vec t, Vec both) {
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

struct ValueAndSlope {
  Vec value, slope;
};

// Of softplus, by e = e^-|t|: log(1 + e) of s = e / (2 + e), and the slope 1 / (1 + e) or e / (1 + e), with
// one division.
__attribute__((always_inline)) inline ValueAndSlope SoftplusBy(Vec t, Vec e) {
  const Vec above = Add(Set(1.0f), e), beyond = Add(Set(2.0f), e);
  const Vec inverse = Div(Set(1.0f), Mul(above, beyond)), share = Mul(inverse, beyond);
  return {Add(Positive(t), TwiceArtanh(Mul(e, Mul(inverse, above)))),
          Mul(share, Select(Less(t, Set(0.0f)), e, Set(1.0f)))};
}
__attribute__((always_inline)) inline Vec ExpOfSoftplus(Vec t) { return Exp(Negated(Abs(t))); }

template <PairFunction kFunction>
__attribute__((always_inline)) inline ValueAndSlope Both(const PairParameters& p, Vec t) {
  if constexpr (kFunction == PairFunction::kSoftplus) return SoftplusBy(t, ExpOfSoftplus(t));
  return {FunctionOf<kFunction>(p, t, t), SlopeOf<kFunction>(p, t, t)};
}

__attribute__((always_inline)) inline Mask IsInGroup(PairGroup group, Vec row_class, Vec col_class) {
  if (group == PairGroup::kPositive) return Equal(col_class, row_class);
  if (group == PairGroup::kNegative) return Less(Set(0.0f), Abs(Sub(col_class, row_class)));
  return Equal(col_class, col_class);
}

// How much of a stretch is in a group.
enum class Share { kNone, kSome, kEvery };

inline Share ShareInGroup(PairGroup group, const PairStretch& given) {
  const PairStretch pairs = given;
  if (pairs.row_class != pairs.row_class || pairs.range.least > pairs.range.greatest) return Share::kNone;
  if (group == PairGroup::kAll || pairs.row_class < pairs.range.least ||
      pairs.row_class > pairs.range.greatest) {
    if (group == PairGroup::kPositive) return Share::kNone;
    return pairs.range.has_gaps ? Share::kSome : Share::kEvery;
  }
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
