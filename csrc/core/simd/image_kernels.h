// SPDX-License-Identifier: MIT
// Kernels of the image gather, on bytes.
#pragma once
#include <cstdint>

namespace fslcore::simd {

struct ImageKernels {
  // A quarter turn of a square one-channel image of size x size bytes, size >= 8: `turns` is 1 or 3,
  // counter-clockwise.
  void (*quarter_turn)(const uint8_t* image, int64_t size, int64_t turns, uint8_t* out);
  // out[i] = float(in[i]) * scale + shift, rounded twice like the same expression in NumPy.
  void (*scale_bytes)(const uint8_t* in, int64_t n, float scale, float shift, float* out);
};

const ImageKernels& Images();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
