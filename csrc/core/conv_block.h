// SPDX-License-Identifier: MIT
// The block of which small encoders are stacked, forward and backward, float32:
//
//   convolved = conv(images, kernel)     3x3, no bias, channels last, SAME padding as in TensorFlow
//   outputs   = max(0, gamma * (convolved - mean) / sqrt(variance + epsilon) + beta)
//
// with the mean and the biased variance of `convolved` over the batch and all positions (Ioffe and Szegedy,
// "Batch normalization", ICML 2015). The window of output (r, c) starts at (r * stride - top, c * stride -
// left), where top = max((out_height - 1) * stride + 3 - height, 0) / 2, rounded down, and left likewise.
//
// The gradient of ReLU at 0 is 0. A batch without positions has mean, variance and gradients 0. Results do
// not depend on the number of threads. Beside the results, memory for a packed copy of the kernel, for 16
// bytes per position of a block of images, and for up to 16 gradients of the kernel.
#pragma once
#include <cstdint>
#include <string>

#include "core/parallel.h"
#include "core/sizes.h"

namespace fslcore {

struct ConvShape {
  int64_t count, height, width, channels;  // of the images
  int64_t filters, stride;

  int64_t out_height() const { return DivideUp(height, stride); }
  int64_t out_width() const { return DivideUp(width, stride); }
  int64_t image_size() const { return height * width * channels; }       // floats
  int64_t positions_each() const { return out_height() * out_width(); }  // of the output of one image
  int64_t positions() const { return count * positions_each(); }
};

// The sentence that says what is wrong with the arguments, or nothing.
std::string CheckConvBlock(const Sizes& images, const Sizes& kernel, const Sizes& gamma, const Sizes& beta,
                           int64_t stride, float epsilon);
std::string CheckConvBlockNormGrad(const Sizes& grad, const Sizes& convolved, const Sizes& mean,
                                   const Sizes& variance, const Sizes& gamma, const Sizes& beta,
                                   float epsilon);
std::string CheckConvInputGrad(const Sizes& images, const Sizes& kernel, const Sizes& grad, int64_t stride);
std::string CheckConvKernelGrad(const Sizes& images, const Sizes& grad, int64_t stride);

// What the normalisation is made of, [filters] each.
struct ConvNorm {
  const float *gamma, *beta;
  float epsilon;
};

struct ConvBlockResults {
  float* outputs;          // [count, out_height, out_width, filters]
  float* convolved;        // the same shape: what the gradient needs
  float *mean, *variance;  // [filters]
};

// images [count, height, width, channels], kernel [3, 3, channels, filters].
void ConvBlock(const Executor& executor, const ConvShape& shape, const float* images, const float* kernel,
               const ConvNorm& norm, const ConvBlockResults& results);

struct ConvNormGradients {
  float* convolved;     // [positions, filters]; may be the incoming gradient itself
  float *gamma, *beta;  // [filters]
};

// From the gradient with respect to the outputs, [positions, filters], back through ReLU and normalisation.
void ConvBlockNormGrad(const Executor& executor, int64_t positions, int64_t filters, const float* grad,
                       const float* convolved, const float* mean, const float* variance, const ConvNorm& norm,
                       const ConvNormGradients& gradients);

// From `grad`, with respect to `convolved`, to the gradient of the images or of the kernel.
void ConvInputGrad(const Executor& executor, const ConvShape& shape, const float* kernel, const float* grad,
                   float* images_grad);
void ConvKernelGrad(const Executor& executor, const ConvShape& shape, const float* images, const float* grad,
                    float* kernel_grad);

}  // namespace fslcore
