// SPDX-License-Identifier: MIT
// What a network of norms sees of one coordinate of a pair of rows, q of the first and s of the second:
//
//   first          q                product        q s              absolute      |q - s|
//   second         s                sum            q + s            squared       (q - s)^2
//   unit_product   1 - q s / (|x| |y|), with the reciprocal lengths of the rows given as their scales
//   softmax        exp |q - s| as a share of its sum over the coordinates of the pair
//
// The set of them is a mask, with the bits in this order; fslcore/arguments.py has the same names.
#pragma once
#include <cstdint>

namespace fslcore {

enum class Norm : int { kFirst, kSecond, kProduct, kSum, kAbsolute, kSquared, kUnitProduct, kSoftmax };

inline constexpr int kMostNorms = 8;

// Functions have internal linkage, as in core/pairwise/distance.h.
static inline constexpr bool HasNorm(int64_t mask, Norm norm) {
  return (mask >> static_cast<int>(norm) & 1) != 0;
}

static inline constexpr int CountNorms(int64_t mask) {
  int count = 0;
  for (int i = 0; i < kMostNorms; ++i) count += static_cast<int>(mask >> i & 1);
  return count;
}

// The norms of a mask, in order, into [kMostNorms].
static inline constexpr void ListNorms(int64_t mask, Norm* norms) {
  for (int i = 0; i < kMostNorms; ++i)
    if ((mask >> i & 1) != 0) *norms++ = static_cast<Norm>(i);
}

}  // namespace fslcore
