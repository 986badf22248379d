// SPDX-License-Identifier: MIT
// Convolutions with an odd square kernel and stride 1, channels last, without a bias, float32, whose maps
// have the size of the images (SAME padding):
//
//   maps[n, r, c, f] = sum over i, j, k of images[n, r + i - size / 2, c + j - size / 2, k] * kernel[i, j, k,
//   f]
//
// Images outside their borders are 0. They are copied with a border of zeros, so that all positions meet all
// taps: the windows of an image have no special cases. That suits many channels, where the copy is little
// beside the products; convolution.h is for few, with strides and in blocks.
//
// Beside the results it takes memory for padded images, a packed kernel, and 16 bytes per position. Empty
// batches, images and channels are allowed: sums of nothing are 0. Results do not depend on the number of
// threads.
#pragma once
#include <string>

#include "core/arrays/sizes.h"
#include "core/threads/parallel.h"

namespace fslcore {

struct SameConvolutionShape {
  int64_t count, height, width, channels;  // of the images
  int64_t size, filters;                   // of the kernel

  int64_t positions_each() const { return height * width; }
  int64_t positions() const { return count * positions_each(); }
  int64_t kernel_size() const { return size * size * channels * filters; }  // floats
};

SameConvolutionShape SameConvolutionShapeOf(const Sizes& images, const Sizes& kernel);

// Error messages, empty if all is well.
std::string CheckSameConvolution(const Sizes& images, const Sizes& kernel);
std::string CheckSameConvolutionGrad(const Sizes& grad, const Sizes& images, const Sizes& kernel);

// images [count, height, width, channels], kernel [size, size, channels, filters] to maps [count, height,
// width, filters].
void SameConvolution(const Executor& executor, const SameConvolutionShape& shape, const float* images,
                     const float* kernel, float* maps);

// The gradients of the images and of the kernel from that of the maps; null for one that is not wanted.
void SameConvolutionGrad(const Executor& executor, const SameConvolutionShape& shape, const float* grad,
                         const float* images, const float* kernel, float* images_grad, float* kernel_grad);

}  // namespace fslcore
