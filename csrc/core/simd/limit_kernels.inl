// SPDX-License-Identifier: MIT
// Fused multiply-adds between registers and nothing else.
#pragma once
#include "core/simd/tiles.inl"

// As many independent sums as the register tile of the pairwise kernels has: a multiply-add takes four cycles
// or five and two may start in each, so that with fewer than ten sums the units would wait for results. Rows
// and columns, for loops of 24 turns are not unrolled.
int64_t MultiplyAdds(int64_t steps, float* result) {
  const Vec scale = Set(0.5f), shift = Set(1.0f);  // the sums approach 2: neither infinities nor denormals
  Vec sums[kTileRows][kVecs];
  for (int r = 0; r < kTileRows; ++r)
    for (int v = 0; v < kVecs; ++v)
      sums[r][v] = Set(static_cast<float>(3 + r * kVecs + v));  // equal sums would be merged into one
  for (int64_t step = 0; step < steps; ++step)
    for (auto& row : sums)
      for (Vec& sum : row) sum = Fma(sum, scale, shift);
  Vec total = Set(0.0f);
  for (const auto& row : sums)
    for (const Vec& sum : row) total = Add(total, sum);
  *result = Sum(total);
  return steps * kTileRows * kVecs * kLanes * 2;
}

constexpr LimitKernels MakeLimitKernels() {
  LimitKernels k = {};
  k.multiply_adds = MultiplyAdds;
  return k;
}
