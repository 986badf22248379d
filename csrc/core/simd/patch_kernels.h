// SPDX-License-Identifier: MIT
// Kernels of convolution blocks whose images have few channels: each position of the maps has its patch, the
// pixels under the kernel, copied into a row, and the maps are made again wherever they are needed, a few
// positions at a time between registers. core/convolution/thin_block.h has the mathematics.
#pragma once
#include <cstdint>

#include "core/simd/convolution_kernels.h"

namespace fslcore::simd {

// Patches in rows of `line` floats, of which the first `depth` meet the rows of kernel [depth, cols].
struct PatchProduct {
  int64_t depth, line, cols;
  const float* patches;
  const float* kernel;
};

struct PatchKernels {
  // The maps of `rows` patches, [rows, cols], with the bits of ConvolutionKernels::window.
  void (*maps)(const PatchProduct&, int64_t rows, float* out);
  // As ConvolutionKernels::moments of the maps of rows > 0 patches. `mean` comes in as something near it.
  void (*squares)(const PatchProduct&, int64_t rows, float* mean, float* squares);
  // As ConvolutionKernels::pooled_relu of the maps; windows.x_row counts floats of patches.
  void (*pooled_relu)(const PatchProduct&, const NormalisedRelu&, const PoolWindows&, float* out);
  // With d as for ConvolutionKernels::pooled_relu_sums: adds its sums by columns to sums [cols], and the sums
  // of patch[k] * d to products [depth, cols].
  void (*pooled_relu_grad)(const PatchProduct&, const NormalisedRelu&, const PoolWindows&, const float* grad,
                           float* sums, float* products);
};

const PatchKernels& Patches();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
