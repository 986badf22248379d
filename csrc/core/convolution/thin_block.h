// SPDX-License-Identifier: MIT
// Convolution blocks of images with few channels, float32: the first block of a network. To make the maps
// again from patches of 9 to 27 pixels costs less than to write and read them, so no pass over the batch
// stores them: one finds their moments, one makes the outputs, and one makes all of the gradient but that of
// the images. With x the maps, d the gradient of the outputs behind pool and ReLU, and sums over the n
// positions p of the batch, the gradient of the maps (conv_block.cc) gives
//
//   kernel_grad[k] = scale * (sum patch[k] d - offset * sum patch[k] - slope * sum patch[k] (x - mean))
//   sum d (x - mean) = sum over k of kernel[k] * sum patch[k] d - mean * sum d
//   sum patch[k] x   = sum over l of kernel[l] * sum patch[k] patch[l]
//
// of which only the sums of patch[k] d go over positions and filters; those of patch[k] patch[l] are few.
// Results do not depend on the number of threads.
#pragma once
#include "core/convolution/conv_block.h"

namespace fslcore {

inline constexpr int64_t kThinChannels = 3;

inline bool IsThin(const ConvShape& shape) {
  return shape.channels >= 1 && shape.channels <= kThinChannels && shape.precision == Precision::kFloat32 &&
         shape.positions() > 0;
}

// ConvBlock and ConvBlockGrad of a thin shape; the images' gradient is left alone.
void ThinBlock(const Executor& executor, const ConvBlockShape& shape, const ConvBlockInputs& inputs,
               const ConvBlockResults& results);
void ThinBlockGrad(const Executor& executor, const ConvBlockShape& shape, const ConvBlockInputs& inputs,
                   const float* mean, const float* variance, const float* grad,
                   const ConvBlockGradients& gradients);

}  // namespace fslcore
