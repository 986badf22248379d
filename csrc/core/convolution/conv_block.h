// SPDX-License-Identifier: MIT
// The block of which small encoders are stacked, forward and backward, float32 but for the factors of the
// convolution's products if its precision is bfloat16:
//
//   maps    = conv(images, kernel)     3x3, as in convolution.h
//   values  = max(0, gamma * (maps - mean) / sqrt(variance + epsilon) + beta)
//   outputs = the largest of each pool x pool of the values
//
// with the mean and the biased variance of the maps over the batch and all positions (Ioffe and Szegedy,
// "Batch normalization", ICML 2015). An odd last row or column belongs to no window of a pool of 2.
//
// The gradient of ReLU at 0 is 0; the gradient of the maximum goes to the first of equals, row by row. A
// batch without positions has mean, variance and gradients 0. Results do not depend on the number of threads.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "core/arrays/sizes.h"
#include "core/convolution/convolution.h"
#include "core/threads/parallel.h"

namespace fslcore {

struct ConvBlockShape {
  ConvShape conv;
  int64_t pool;  // 1 or 2

  int64_t out_height() const { return conv.map_height() / pool; }
  int64_t out_width() const { return conv.map_width() / pool; }
  int64_t outputs_size() const { return out_height() * out_width() * conv.filters; }  // for one image
  Sizes output_sizes() const { return {conv.count, out_height(), out_width(), conv.filters}; }
};

// Whether a caller should keep the maps for the gradient. Large maps of images with few channels are not
// kept: to convolve again takes no longer than to read them from memory, and they need many times the memory
// of the images.
inline bool KeepsMaps(const ConvShape& shape) {
  return shape.channels > 3 || shape.positions() * shape.filters <= int64_t{1} << 20;
}

inline constexpr std::array<Precision, 2> kConvPrecisions = {Precision::kFloat32, Precision::kBfloat16};

// The arguments of a block that are not tensors.
struct ConvBlockOptions {
  int64_t stride, pool;
  float epsilon;
  Precision precision;
};

ConvBlockShape ConvBlockShapeOf(const Sizes& images, const Sizes& kernel, const ConvBlockOptions& options);

// An error message if the arguments do not fit together, empty otherwise.
std::string CheckConvBlock(const Sizes& images, const Sizes& kernel, const Sizes& gamma, const Sizes& beta,
                           const ConvBlockOptions& options);
std::string CheckConvBlockGrad(const Sizes& grad, const Sizes& images, const Sizes& kernel,
                               const Sizes& gamma, const Sizes& beta, const Sizes& maps, const Sizes& mean,
                               const Sizes& variance, const ConvBlockOptions& options);

struct ConvBlockInputs {
  const float* images;        // [count, height, width, channels]
  const float* kernel;        // [3, 3, channels, filters]
  const float *gamma, *beta;  // [filters]
  float epsilon;
};

struct ConvBlockResults {
  float* outputs;          // [count, out_height, out_width, filters]
  float* maps;             // [count, map_height, map_width, filters], or null: they are not kept
  float *mean, *variance;  // [filters]
};

void ConvBlock(const Executor& executor, const ConvBlockShape& shape, const ConvBlockInputs& inputs,
               const ConvBlockResults& results);

// The results that the gradient needs.
struct ConvBlockSaved {
  const float* maps;  // null if they were not kept
  const float *mean, *variance;
};

struct ConvBlockGradients {
  float* images;  // or null: it is not computed
  float *kernel, *gamma, *beta;
};

// `grad` is the gradient with respect to the outputs.
void ConvBlockGrad(const Executor& executor, const ConvBlockShape& shape, const ConvBlockInputs& inputs,
                   const ConvBlockSaved& saved, const float* grad, const ConvBlockGradients& gradients);

}  // namespace fslcore
