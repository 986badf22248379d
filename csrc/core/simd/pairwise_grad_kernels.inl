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
    Accumulate<height.value, Pair::kProduct>({g.cols, a, g.a_stride, 1, g.y_panel, nullptr, false},
                                             g.first_of_dx, sums);
  });
  ForEachTile(g.cols, [&](auto height, int64_t c) {
    float* sums = g.dy + c * kPanel;
    Prefetch({sums + height.value * kPanel, kTileRows * kPanel});
    Accumulate<height.value, Pair::kProduct>({g.rows, g.a + c, 1, g.a_stride, g.x_panel, nullptr, false},
                                             g.first_of_dy, sums);
  });
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

float Coefficients(Metric metric, const float* grad, const float* out, int64_t n, float* coefficients) {
  const Vec zero = Set(0.0f);
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
  return ForEachSlope(grad, out, n, coefficients, [](Vec g, const float*, int64_t) { return g; });
}

constexpr PairwiseKernels MakePairwiseKernels() {
  PairwiseKernels k = {};
  k.pack_tiles = PackTiles;
  k.sums = Sums;
  k.block = Block;
  k.product_grad = ProductGrad;
  k.coefficients = Coefficients;
  return k;
}
