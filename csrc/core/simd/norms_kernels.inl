// SPDX-License-Identifier: MIT
// Networks on the coordinates of pairs: lanes are rows of y. What a filter needs of its weights is broadcast;
// the norms of a coordinate stay in registers while all filters pass.
#pragma once
#include "core/simd/exponential.inl"
#include "core/simd/row_kernels.inl"

// What the norms of one vector of pairs have in common.
struct PairScales {
  Vec unit;            // the product of the scales of the rows
  Vec largest, share;  // of softmax: the largest |q - s|, and one over the sum of exp(|q - s| - largest)
};

inline PairScales ScalesOfPairs(const NormsPair& p, int v) {
  PairScales scales = {Set(0.0f), Set(0.0f), Set(0.0f)};
  if (HasNorm(p.norms, Norm::kUnitProduct)) scales.unit = Mul(Set(p.x_scale), Load(p.y_scales + v * kLanes));
  if (!HasNorm(p.norms, Norm::kSoftmax)) return scales;
  const auto distance = [&](int64_t d) { return Abs(Sub(Set(p.x[d]), Load(p.y + d * kPanel + v * kLanes))); };
  for (int64_t d = 0; d < p.dim; ++d) scales.largest = Max(scales.largest, distance(d));
  Vec sum = Set(0.0f);
  for (int64_t d = 0; d < p.dim; ++d) sum = Add(sum, Exp(Sub(distance(d), scales.largest)));  // a NaN stays
  scales.share = Div(Set(1.0f), sum);
  return scales;
}

inline Vec ValueOfNorm(Norm norm, Vec q, Vec s, const PairScales& scales) {
  const Vec difference = Sub(q, s);
  switch (norm) {
    case Norm::kFirst:
      return q;
    case Norm::kSecond:
      return s;
    case Norm::kProduct:
      return Mul(q, s);
    case Norm::kSum:
      return Add(q, s);
    case Norm::kAbsolute:
      return Abs(difference);
    case Norm::kSquared:
      return Mul(difference, difference);
    case Norm::kUnitProduct:
      return Sub(Set(1.0f), Mul(Mul(q, s), scales.unit));
    default:
      return Mul(Exp(Sub(Abs(difference), scales.largest)), scales.share);
  }
}

template <int kNorms>
void NormsForward(const NormsBlock& b) {
  const NormsPair& p = b.pair;
  Norm norms[kMostNorms];
  ListNorms(p.norms, norms);
  PairScales scales[kVecs];
  Vec out[kVecs];
  for (int v = 0; v < kVecs; ++v) {
    scales[v] = ScalesOfPairs(p, v);
    out[v] = Set(b.bias);
  }
  for (int64_t d = 0; d < p.dim; ++d) {
    Vec values[kVecs][kNorms], mixed[kVecs];
    for (int v = 0; v < kVecs; ++v) {
      const Vec q = Set(p.x[d]), s = Load(p.y + d * kPanel + v * kLanes);
      for (int k = 0; k < kNorms; ++k) values[v][k] = ValueOfNorm(norms[k], q, s, scales[v]);
      mixed[v] = Set(0.0f);
    }
    const float* filter = p.network;
    for (int64_t f = 0; f < p.filters; ++f, filter += kNorms + 2)
      for (int v = 0; v < kVecs; ++v) {
        Vec sum = Set(filter[kNorms]);
        for (int k = 0; k < kNorms; ++k) sum = Fma(Set(filter[k]), values[v][k], sum);
        mixed[v] = Fma(Set(filter[kNorms + 1]), Max(Set(0.0f), sum), mixed[v]);  // a NaN stays
      }
    for (int v = 0; v < kVecs; ++v) out[v] = Fma(Set(p.weights[d]), mixed[v], out[v]);
  }
  for (int v = 0; v < kVecs; ++v)
    Store(b.out + v * kLanes, b.activation == Activation::kSigmoid ? Logistic(out[v]) : out[v]);
}

// One vector of pairs; add_to_x(d, lanes) adds to dx[d].
template <int kNorms, class AddToX>
inline void NormsBackward(const NormsGradBlock& g, const Norm* norms, int v, const AddToX& add_to_x) {
  const NormsPair& p = g.pair;
  const PairScales scales = ScalesOfPairs(p, v);
  const Vec grad = Load(g.grad + v * kLanes), zero = Set(0.0f), one = Set(1.0f);
  const Vec least = Set(0x1p-126f);  // what is below, in flushed arithmetic, is 0 or negative
  Vec of_unit = zero, of_softmax = zero;
  for (int64_t d = 0; d < p.dim; ++d) {
    const int64_t at = d * kPanel + v * kLanes;
    const Vec q = Set(p.x[d]), s = Load(p.y + at), weighted = Mul(grad, Set(p.weights[d]));
    Vec values[kNorms], slopes[kNorms + 1];
    for (int k = 0; k < kNorms; ++k) {
      values[k] = ValueOfNorm(norms[k], q, s, scales);
      slopes[k] = zero;
    }
    slopes[kNorms] = zero;
    const float* filter = p.network;
    float* sums = g.sums;
    for (int64_t f = 0; f < p.filters; ++f, filter += 2 * (kNorms + 1), sums += (kNorms + 1) * kLanes) {
      Vec sum = Set(filter[kNorms]);
      for (int k = 0; k < kNorms; ++k) sum = Fma(Set(filter[k]), values[k], sum);
      const Vec passes = Select(Less(sum, least), zero, one);  // a NaN passes
      const Vec passed = Mul(weighted, passes);
      for (int k = 0; k < kNorms; ++k) {
        Store(sums + k * kLanes, Fma(passed, values[k], Load(sums + k * kLanes)));
        slopes[k] = Fma(passes, Set(filter[kNorms + 1 + k]), slopes[k]);
      }
      Store(sums + kNorms * kLanes, Add(passed, Load(sums + kNorms * kLanes)));
      slopes[kNorms] = Fma(passes, Set(filter[2 * kNorms + 1]), slopes[kNorms]);
    }
    // The mixed filters are linear in the norms, as which of them pass is known.
    Vec mixed = slopes[kNorms];
    for (int k = 0; k < kNorms; ++k) mixed = Fma(slopes[k], values[k], mixed);
    g.dweights[d] += Sum(Mul(grad, mixed));

    Vec by_q = zero, by_s = zero;
    const Vec difference = Sub(q, s);
    for (int k = 0; k < kNorms; ++k) {
      const Vec slope = Mul(weighted, slopes[k]);
      Vec term;
      switch (norms[k]) {
        case Norm::kFirst:
          by_q = Add(by_q, slope);
          break;
        case Norm::kSecond:
          by_s = Add(by_s, slope);
          break;
        case Norm::kProduct:
          by_q = Fma(slope, s, by_q);
          by_s = Fma(slope, q, by_s);
          break;
        case Norm::kSum:
          by_q = Add(by_q, slope);
          by_s = Add(by_s, slope);
          break;
        case Norm::kAbsolute:
          term = Signed(slope, difference);
          by_q = Add(by_q, term);
          by_s = Sub(by_s, term);
          break;
        case Norm::kSquared:
          term = Mul(slope, Add(difference, difference));
          by_q = Add(by_q, term);
          by_s = Sub(by_s, term);
          break;
        case Norm::kUnitProduct:
          term = Mul(slope, scales.unit);
          by_q = Sub(by_q, Mul(term, s));
          by_s = Sub(by_s, Mul(term, q));
          of_unit = Sub(of_unit, Mul(slope, Mul(q, s)));
          break;
        default:
          Store(g.scratch + at, slope);
          of_softmax = Fma(slope, values[k], of_softmax);
      }
    }
    add_to_x(d, by_q);
    Store(g.dy + at, Add(Load(g.dy + at), by_s));
  }
  if (HasNorm(p.norms, Norm::kUnitProduct)) {
    *g.dx_scale += Sum(Mul(of_unit, Load(p.y_scales + v * kLanes)));
    float* to = g.dy_scales + v * kLanes;
    Store(to, Fma(of_unit, Set(p.x_scale), Load(to)));
  }
  if (!HasNorm(p.norms, Norm::kSoftmax)) return;
  for (int64_t d = 0; d < p.dim; ++d) {
    const int64_t at = d * kPanel + v * kLanes;
    const Vec q = Set(p.x[d]), s = Load(p.y + at);
    const Vec value = ValueOfNorm(Norm::kSoftmax, q, s, scales);
    const Vec term = Signed(Mul(value, Sub(Load(g.scratch + at), of_softmax)), Sub(q, s));
    add_to_x(d, term);
    Store(g.dy + at, Sub(Load(g.dy + at), term));
  }
}

template <int kNorms>
void NormsGrad(const NormsGradBlock& g) {
  Norm norms[kMostNorms];
  ListNorms(g.pair.norms, norms);
  for (int v = 0; v < kVecs; ++v)
    NormsBackward<kNorms>(g, norms, v, [&g](int64_t d, Vec lanes) { g.dx[d] += Sum(lanes); });
}

void NormsForwardOf(const NormsBlock& b) {
  switch (CountNorms(b.pair.norms)) {
    case 1:
      return NormsForward<1>(b);
    case 2:
      return NormsForward<2>(b);
    case 3:
      return NormsForward<3>(b);
    case 4:
      return NormsForward<4>(b);
    case 5:
      return NormsForward<5>(b);
    case 6:
      return NormsForward<6>(b);
    case 7:
      return NormsForward<7>(b);
    default:
      return NormsForward<8>(b);
  }
}

void NormsGradOf(const NormsGradBlock& g) {
  switch (CountNorms(g.pair.norms)) {
    case 1:
      return NormsGrad<1>(g);
    case 2:
      return NormsGrad<2>(g);
    case 3:
      return NormsGrad<3>(g);
    case 4:
      return NormsGrad<4>(g);
    case 5:
      return NormsGrad<5>(g);
    case 6:
      return NormsGrad<6>(g);
    case 7:
      return NormsGrad<7>(g);
    default:
      return NormsGrad<8>(g);
  }
}

void TakeSums(float* sums, int64_t count, double* totals) {
  for (int64_t i = 0; i < count; ++i) {
    totals[i] += Sum(Load(sums + i * kLanes));
    Store(sums + i * kLanes, Set(0.0f));
  }
}

constexpr NormsKernels MakeNormsKernels() {
  NormsKernels k = {};
  k.block = NormsForwardOf;
  k.grad = NormsGradOf;
  k.take_sums = TakeSums;
  return k;
}
