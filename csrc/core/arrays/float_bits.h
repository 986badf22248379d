// SPDX-License-Identifier: MIT
// Floats and their bits. The bits of numbers that are +0 or above are in the order of the numbers, and NaN
// follows them.
#pragma once
#include <cstdint>

namespace fslcore {

inline uint32_t FloatBits(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float BitsFloat(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace fslcore
