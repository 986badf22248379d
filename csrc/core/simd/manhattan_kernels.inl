// SPDX-License-Identifier: MIT
// Register tiles of the metrics that are made of |x - y|: manhattan, weighted_manhattan and chebyshev.
#pragma once
#include "core/simd/tiles.inl"

// As integers, magnitudes are in their order, and a NaN is above all of them: it stays where the largest is
// sought. What is sought is the least complement, kLargestBits - the magnitude.
constexpr uint32_t kLargestBits = 0x7fffffff;

template <Pair kPair>
inline Vec SumOfNothing() {
  return kPair == Pair::kLargestAbsolute ? SetBits(kLargestBits) : Set(0.0f);
}

// sums[r, c] = the sum over k of the pair (a(r, k), panel[k, c]), on top of what is there unless `first`; a
// is packed by pack_tiles. Of |x - y| it sums max(x, y), and 2 max(x, y) - x - y is made of that later: two
// operations instead of three. sum + 1 * max has the bits of sum + max. It is for CPUs whose units for max
// are those for additions, and whose multiply-adds run elsewhere (AMD since Zen 3): each of the two kinds of
// units then has one operation.
template <int kHeight, Pair kPair, bool kMaxByFma>
__attribute__((noinline)) void AccumulateDifferences(const Operands& o, bool first, float* sums) {
  Vec tile[kHeight][kVecs];
#pragma GCC unroll 8  // an array of vectors stays in registers if all loops over it are unrolled early
  for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v)
      tile[r][v] = first ? SumOfNothing<kPair>() : Load(sums + r * kPanel + v * kLanes);
  const float *panel = o.panel, *a = o.a;
  const Vec one = Opaque(Set(1.0f));  // or the compiler makes an addition of the multiply-add
  for (int64_t k = 0; k < o.depth; ++k, panel += kPanel, a += kHeight) {
    Vec b[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) b[v] = Load(panel + v * kLanes);
    const Vec weight = Set(kPair == Pair::kWeightedAbsolute ? o.weights[k] : 0.0f);
#pragma GCC unroll 8
    for (int r = 0; r < kHeight; ++r) {
      const Vec x = Set(a[r]);
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) {
        if constexpr (kPair == Pair::kAbsolute)
          tile[r][v] = kMaxByFma ? Fma(MaxOfNumbers(x, b[v]), one, tile[r][v])
                                 : Add(tile[r][v], MaxOfNumbers(x, b[v]));
        if constexpr (kPair == Pair::kWeightedAbsolute)
          tile[r][v] = Fma(weight, Abs(Sub(x, b[v])), tile[r][v]);
        if constexpr (kPair == Pair::kLargestAbsolute)
          tile[r][v] = MinBits(tile[r][v], SubBits(SetBits(kLargestBits), Abs(Sub(x, b[v]))));
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) Store(sums + r * kPanel + v * kLanes, tile[r][v]);
}

template <int kHeight, Pair kPair>
void AccumulateDifferences(const Operands& o, bool first, float* sums) {
  if (kPair == Pair::kAbsolute && o.max_by_fma)
    AccumulateDifferences<kHeight, kPair, true>(o, first, sums);
  else
    AccumulateDifferences<kHeight, kPair, false>(o, first, sums);
}
