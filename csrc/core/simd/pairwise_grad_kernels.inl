// SPDX-License-Identifier: MIT
// Gradients of pairwise matrices: a block of coefficients meets a panel of either side once, for both
// gradients.
#pragma once
#include "core/simd/pairwise_kernels.inl"

// The rows of the next tile, and their sums so far.
inline void PrefetchTile(const float* sums, const float* a, int64_t a_row, int64_t columns) {
  Prefetch({sums, kTileRows * kPanel});
  for (int r = 0; r < kTileRows; ++r) Prefetch({a + r * a_row, columns});
}

void ProductGrad(const PairwiseGradBlock& g) {
  ForEachTile(g.rows, [&](auto height, int64_t r) {
    const float* a = g.a + r * g.a_stride;
    float* sums = g.dx + r * kPanel;
    PrefetchTile(sums + height.value * kPanel, a + height.value * g.a_stride, g.a_stride, g.cols);
    Accumulate<height.value, Pair::kProduct>({g.cols, a, g.a_stride, 1, g.y_panel, nullptr}, g.first_of_dx,
                                             sums);
  });
  ForEachTile(g.cols, [&](auto height, int64_t c) {
    float* sums = g.dy + c * kPanel;
    Prefetch({sums + height.value * kPanel, kTileRows * kPanel});
    Accumulate<height.value, Pair::kProduct>({g.rows, g.a + c, 1, g.a_stride, g.x_panel, nullptr},
                                             g.first_of_dy, sums);
  });
}

// One vector of columns. The rows of x and their gradients stay in registers while all of y passes.
template <int kHeight, bool kTotals>
inline void SignTile(const PairwiseGradBlock& g, int64_t row, int v) {
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
      dx[r] = Add(dx[r], signed_a);
      dy = Sub(dy, signed_a);
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
void SignTiles(const PairwiseGradBlock& g) {
  ForEachTile(g.rows, [&](auto height, int64_t row) {
    for (int v = 0; v < kVecs; ++v) SignTile<height.value, kTotals>(g, row, v);
  });
}

void SignGrad(const PairwiseGradBlock& g) { g.abs_differences ? SignTiles<true>(g) : SignTiles<false>(g); }

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

// slope(incoming gradient, output), vector by vector; the last may be partial. Returns the sum.
template <class Slope>
inline float ForEachSlope(const float* grad, const float* out, int64_t n, float* coefficients,
                          const Slope& slope) {
  Vec sum = Set(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec c = slope(Load(grad + i), out + i, kLanes);
    sum = Add(sum, c);
    Store(coefficients + i, c);
  }
  if (i < n) {
    const Vec c = slope(LoadPartial(grad + i, n - i), out + i, n - i);
    sum = Add(sum, c);
    StorePartial(coefficients + i, c, n - i);
  }
  return Sum(sum);
}

float Coefficients(Metric metric, Activation activation, const float* grad, const float* out, int64_t n,
                   float* coefficients) {
  const Vec one = Set(1.0f), zero = Set(0.0f);
  const auto read = [](const float* p, int64_t left) {
    return left >= kLanes ? Load(p) : LoadPartial(p, left);
  };
  if (metric == Metric::kSqeuclidean)
    return ForEachSlope(grad, out, n, coefficients, [](Vec g, const float*, int64_t) { return Add(g, g); });
  if (metric == Metric::kEuclidean)
    return ForEachSlope(grad, out, n, coefficients, [&](Vec g, const float* at, int64_t left) {
      const Vec distance = read(at, left);
      return Select(Equal(distance, zero), zero, Div(g, distance));
    });
  if (metric == Metric::kCosine)
    return ForEachSlope(grad, out, n, coefficients,
                        [&](Vec g, const float*, int64_t) { return Sub(zero, g); });
  if (activation == Activation::kSigmoid)
    return ForEachSlope(grad, out, n, coefficients, [&](Vec g, const float* at, int64_t left) {
      const Vec value = read(at, left);
      return Mul(g, Mul(value, Sub(one, value)));
    });
  return ForEachSlope(grad, out, n, coefficients, [](Vec g, const float*, int64_t) { return g; });
}

constexpr PairwiseKernels MakePairwiseKernels() {
  PairwiseKernels k = {};
  k.pack_tiles = PackTiles;
  k.sums = Sums;
  k.block = Block;
  k.product_grad = ProductGrad;
  k.sign_grad = SignGrad;
  k.largest_grad = LargestGrad;
  k.coefficients = Coefficients;
  return k;
}
