// SPDX-License-Identifier: MIT
// Gradients of manhattan, weighted_manhattan and chebyshev: a block of coefficients meets a panel of columns
// of either side once, for both gradients and that of the weights.
#pragma once
#include "core/simd/manhattan_kernels.inl"
#include "core/simd/row_kernels.inl"

void AbsoluteTileByAdd(const AbsoluteTile& t) {
  AccumulateDifferences<kTileRows, Pair::kAbsolute>({t.depth, t.tile, 1, kTileRows, t.panel, nullptr, false},
                                                    false, t.sums);
}

void AbsoluteTileByFma(const AbsoluteTile& t) {
  AccumulateDifferences<kTileRows, Pair::kAbsolute>({t.depth, t.tile, 1, kTileRows, t.panel, nullptr, true},
                                                    false, t.sums);
}

// Sign(d) is right for what differences of these are: no NaN; never -0, which a difference becomes only if
// it is subnormal, and flushed.
inline bool AreOrdinary(Vec v) {
  const Vec magnitude = Abs(v);
  const uint32_t finite = Bits(Less(magnitude, Set(__builtin_inff())));
  const uint32_t tiny = Bits(Less(magnitude, Set(0x1p-102f))) & ~Bits(Equal(v, Set(0.0f)));
  return (finite & ~tiny) == (1u << kLanes) - 1;
}

bool PackSigns(const float* y, int64_t rows, int64_t dim, int64_t first, float* out) {
  bool ordinary = true;
  for (int64_t k = 0; k < rows; ++k, out += kPanel)
    for (int v = 0; v < kVecs; ++v) {
      const int64_t left = dim - first - v * kLanes;
      const float* p = y + k * dim + first + v * kLanes;
      const Vec value = Add(left >= kLanes ? Load(p)
                            : left > 0     ? LoadPartial(p, left)
                                           : Set(0.0f),
                            Set(0.0f));
      if constexpr (kSignOfOrdinary) ordinary &= AreOrdinary(value);
      Store(out + v * kLanes, value);
    }
  return ordinary;
}

// One vector of columns. The rows of x and their gradients stay in registers while all of y passes.
template <int kHeight, bool kTotals>
inline void SignTile(const SignGradBlock& g, int64_t row, int v) {
  Vec x[kHeight], dx[kHeight], totals = Set(0.0f);
  for (int r = 0; r < kHeight; ++r) {
    const int64_t at = (row + r) * kPanel + v * kLanes;
    x[r] = Load(g.x_panel + at);
    dx[r] = g.first_of_dx ? Set(0.0f) : Load(g.dx + at);
  }
  const bool first_of_dy = g.first_of_dy && row == 0;
  for (int64_t c = 0; c < g.cols; ++c) {
    const int64_t at = c * kPanel + v * kLanes;
    const Vec y = Load(g.y_panel + at);
    Vec dy = first_of_dy ? Set(0.0f) : Load(g.dy + at);
    for (int r = 0; r < kHeight; ++r) {
      const Vec difference = Sub(x[r], y);
      const Vec signed_a = Signed(Set(g.a[(row + r) * g.a_stride + c]), difference);
      const Vec term = Mul(Set(kSignUnit), signed_a);
      dx[r] = Add(dx[r], term);
      dy = Sub(dy, term);
      if constexpr (kTotals) totals = Fma(signed_a, difference, totals);
    }
    Store(g.dy + at, dy);
  }
  for (int r = 0; r < kHeight; ++r) Store(g.dx + (row + r) * kPanel + v * kLanes, dx[r]);
  if constexpr (kTotals) {
    float* out = g.abs_differences + v * kLanes;
    Store(out, Add(Load(out), totals));
  }
}

template <bool kTotals>
void SignTiles(const SignGradBlock& g) {
  ForEachTile(g.rows, [&](auto height, int64_t row) {
    for (int v = 0; v < kVecs; ++v) SignTile<height.value, kTotals>(g, row, v);
  });
}

void SignGrad(const SignGradBlock& g) { g.abs_differences ? SignTiles<true>(g) : SignTiles<false>(g); }

// Four instructions a pair and vector: the difference, its sign, and a multiply-add for either gradient.
// Where multiply-adds (and the sign) have units of their own, these would do three of the four; with
// additions in place of the multiply-adds of two rows in three, or of all rows if the totals are wanted too,
// both kinds of units have nearly the same number. Products with a sign are exact, so that all forms have the
// same bits.
template <int kHeight, bool kTotals, bool kSpread>
inline void FastSignTile(const SignGradBlock& g, int64_t row, int v) {
  Vec x[kHeight], less_dx[kHeight], totals = Set(0.0f);
  for (int r = 0; r < kHeight; ++r) {
    const int64_t at = (row + r) * kPanel + v * kLanes;
    x[r] = Load(g.x_panel + at);
    less_dx[r] = g.first_of_dx ? Set(0.0f) : Sub(Set(0.0f), Load(g.dx + at));
  }
  const bool first_of_dy = g.first_of_dy && row == 0;
  for (int64_t c = 0; c < g.cols; ++c) {
    const int64_t at = c * kPanel + v * kLanes;
    const Vec y = Load(g.y_panel + at);
    Vec dy = first_of_dy ? Set(0.0f) : Load(g.dy + at);
    for (int r = 0; r < kHeight; ++r) {
      const Vec a = Set(g.a[(row + r) * g.a_stride + c]);
      const Vec difference = Sub(y, x[r]), sign = Sign(difference);
      if (kSpread && (kTotals || r % 3 != 0)) {
        const Vec term = Mul(a, sign);
        less_dx[r] = Add(less_dx[r], term);
        dy = Add(dy, term);
      } else {
        less_dx[r] = Fma(a, sign, less_dx[r]);
        dy = Fma(a, sign, dy);
      }
      if constexpr (kTotals) totals = Fma(a, Abs(difference), totals);
    }
    Store(g.dy + at, dy);
  }
  for (int r = 0; r < kHeight; ++r) Store(g.dx + (row + r) * kPanel + v * kLanes, Sub(Set(0.0f), less_dx[r]));
  if constexpr (kTotals) {
    float* out = g.abs_differences + v * kLanes;
    Store(out, Add(Load(out), totals));
  }
}

template <bool kTotals, bool kSpread>
void FastSignTiles(const SignGradBlock& g) {
  ForEachTile(g.rows, [&](auto height, int64_t row) {
    for (int v = 0; v < kVecs; ++v) FastSignTile<height.value, kTotals, kSpread>(g, row, v);
  });
}

void FastSignGrad(const SignGradBlock& g) {
  g.abs_differences ? FastSignTiles<true, false>(g) : FastSignTiles<false, false>(g);
}

void SpreadSignGrad(const SignGradBlock& g) {
  g.abs_differences ? FastSignTiles<true, true>(g) : FastSignTiles<false, true>(g);
}

float Slopes(Activation activation, const float* grad, const float* out, int64_t n, float* slopes) {
  Vec sum = Set(0.0f);
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto read = [&](const float* p) {
      return n - i >= kLanes ? Load(p + i) : LoadPartial(p + i, n - i);
    };
    Vec slope = read(grad);
    if (activation == Activation::kSigmoid) {
      const Vec value = read(out);
      slope = Mul(slope, Mul(value, Sub(Set(1.0f), value)));
    }
    sum = Add(sum, slope);
    StoreColumns(slopes + i, slope, n - i);
  }
  return Sum(sum);
}

// The first d with |x[d] - y[d]| = distance, which is not 0; n if there is none.
inline int64_t FirstAtDistance(const float* x, const float* y, int64_t n, float distance) {
  for (int64_t d = 0; d < n; d += kLanes) {
    const Vec difference = n - d >= kLanes ? Sub(Load(x + d), Load(y + d))
                                           : Sub(LoadPartial(x + d, n - d), LoadPartial(y + d, n - d));
    const uint32_t found = Bits(Equal(Abs(difference), Set(distance)));
    if (found != 0) return d + __builtin_ctz(found);
  }
  return n;
}

void LargestGrad(const LargestGradBlock& g) {
  for (int64_t r = 0; r < g.rows; ++r)
    for (int64_t c = 0; c < g.cols; ++c) {
      const float distance = g.out[r * g.stride + c];
      const float *x = g.x + r * g.dim, *y = g.y + c * g.dim;
      float *dx = g.dx + r * g.dim, *dy = g.dy + c * g.dim;
      if (distance == 0.0f) continue;
      if (distance != distance) {
        for (int64_t d = 0; d < g.dim; ++d) dx[d] = dy[d] = distance;
        continue;
      }
      const int64_t d = FirstAtDistance(x, y, g.dim, distance);
      if (d == g.dim) continue;
      const float grad = g.grad[r * g.stride + c], term = x[d] < y[d] ? -grad : grad;
      dx[d] += term;
      dy[d] -= term;
    }
}

constexpr ManhattanKernels MakeManhattanKernels() {
  ManhattanKernels k = {};
  k.absolute_tile[0] = AbsoluteTileByAdd;
  k.absolute_tile[1] = AbsoluteTileByFma;
  k.sign_unit = kSignUnit;
  k.pack_signs = PackSigns;
  k.sign_grad = SignGrad;
  k.fast_sign_grad[0] = FastSignGrad;
  k.fast_sign_grad[1] = SpreadSignGrad;
  k.slopes = Slopes;
  k.largest_grad = LargestGrad;
  return k;
}
