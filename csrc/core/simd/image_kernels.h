// SPDX-License-Identifier: MIT
// Kernels of the image gather, on bytes.
#pragma once
#include <cstdint>

namespace fslcore::simd {

// An image with a border, as warp_image reads it, and the arithmetic of the result.
struct WarpSource {
  const float* image;           // pixel (x, y) begins at (y + 1) * stride + (x + 1) * channels
  int64_t stride, channels;     // numbers of a row, and of a pixel
  float least, most_x, most_y;  // places are held to them; the border has all pixels around these
  float scale, shift;
};

struct ImageKernels {
  // A quarter turn of a square one-channel image of size x size bytes, size >= 8: `turns` is 1 or 3,
  // counter-clockwise.
  void (*quarter_turn)(const uint8_t* image, int64_t size, int64_t turns, uint8_t* out);
  // out[i] = float(in[i]) * scale + shift, rounded twice like the same expression in NumPy.
  void (*scale_bytes)(const uint8_t* in, int64_t n, float scale, float shift, float* out);
  // An image that is warped by a transform of six numbers (core/images/warp.h): height x width pixels.
  void (*warp_image)(const WarpSource& source, const float* transform, int64_t height, int64_t width,
                     float* out);
};

const ImageKernels& Images();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
