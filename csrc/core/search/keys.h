// SPDX-License-Identifier: MIT
// The order of the search as that of unsigned numbers: first by the value, nearest first and NaN last, then
// by the index. The core and the CUDA kernels share it.
#pragma once
#include <cstdint>

#include "core/arrays/host_device.h"

namespace fslcore {

inline constexpr uint64_t kNoKey = ~uint64_t{0};  // after all others

// `similarity`: greater values are nearer. Distances are +0 or above.
FSLCORE_HOST_DEVICE static inline uint64_t SearchKey(bool similarity, float value, int64_t index) {
  value += 0.0f;  // -0 is +0
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  if (value != value)
    bits = 0xfffffffeu;
  else if (similarity)
    bits = bits >> 31 ? bits : ~(bits | 0x80000000u);  // negative numbers fall as their bits rise
  return uint64_t{bits} << 32 | static_cast<uint32_t>(index);
}

FSLCORE_HOST_DEVICE static inline float SearchValue(bool similarity, uint64_t key) {
  auto bits = static_cast<uint32_t>(key >> 32);
  if (bits == 0xfffffffeu)
    bits = 0x7fc00000u;
  else if (similarity && !(bits >> 31))
    bits = ~bits & 0x7fffffffu;
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

FSLCORE_HOST_DEVICE static inline int32_t SearchIndex(uint64_t key) {
  return static_cast<int32_t>(key & 0xffffffffu);
}

}  // namespace fslcore
