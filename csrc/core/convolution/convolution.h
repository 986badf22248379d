// SPDX-License-Identifier: MIT
// 3x3 convolutions of small images, channels last, without a bias, float32, with TensorFlow's SAME padding:
// the window of map position (r, c) starts at (r * stride - top, c * stride - left), where top =
// max((map_height - 1) * stride + 3 - height, 0) / 2, rounded down, and left likewise.
//
// Work is done by blocks of images that fit a core's cache, so that what precedes or follows a convolution
// can be done there as well. Beside the results it takes memory for packed copies of the kernel, for up to 16
// gradients of the kernel, for the maps' gradients of a block per thread, and 16 bytes per position and pixel
// of a block. Empty batches, images and channels are allowed: sums of nothing are 0.
//
// In bfloat16 the factors of all products, gradients of the maps among them, are rounded to its 8 bits, block
// by block; products and sums are float32. Two neighbours lie in the bits of one float, which makes this a
// convolution of half as many channels, and the kernel's gradient a sum over half as many images.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/pairwise/metric.h"
#include "core/threads/parallel.h"

namespace fslcore {

struct ConvShape {
  int64_t count, height, width, channels;  // of the images
  int64_t filters, stride;
  Precision precision = Precision::kFloat32;  // or kBfloat16

  int64_t map_height() const { return DivideUp(height, stride); }
  int64_t map_width() const { return DivideUp(width, stride); }
  int64_t positions_each() const { return map_height() * map_width(); }  // of one image's maps
  int64_t positions() const { return count * positions_each(); }
  int64_t image_size() const { return height * width * channels; }  // floats
  int64_t maps_size() const { return positions_each() * filters; }  // floats, for one image
};

// `images` images in `count` blocks of nearly equal size; all blocks but the last hold whole units.
struct ImageBlocks {
  int64_t images, count, unit = 1;

  int64_t units() const { return DivideUp(images, unit); }
  int64_t begin(int64_t block) const { return std::min(images, (units() * block / count) * unit); }
  int64_t most() const { return std::min(images, DivideUp(units(), std::max<int64_t>(1, count)) * unit); }

  // Calls body(block, first image, end of its images).
  template <class Body>
  void ForEach(const Executor& executor, const Body& body, Order order = Order::kForward) const {
    ParallelFor(
        executor, count, 1, [&](int64_t block, int64_t next) { body(block, begin(block), begin(next)); },
        order);
  }
};

// Blocks of at most `positions` positions of the maps, or of one image. Their number is a multiple of four if
// there are enough images, so that threads have equal shares.
ImageBlocks BlocksOf(const ConvShape& shape, int64_t positions);

struct WindowGroup;

// images [count, height, width, channels] with kernel [3, 3, channels, filters].
class Convolution {
 public:
  // Calls take at most `block` images.
  Convolution(const Executor& executor, const ConvShape& shape, const float* images, const float* kernel,
              int64_t block);
  ~Convolution();

  // Writes the maps of images [begin, end): [end - begin, map_height, map_width, filters].
  void operator()(int64_t begin, int64_t end, float* maps) const;

 private:
  const ConvShape shape_;
  const float* images_;
  Scratch<float> pairs_, packed_;
  const float* panels_;
  std::vector<WindowGroup> windows_;
};

// Returns the gradient of the maps of images [begin, end). It may be written to `scratch`, which has room for
// it.
using MapsGrad = std::function<const float*(int64_t begin, int64_t end, float* scratch)>;

// Writes the gradients of the kernel and, unless images_grad is null, of the images.
void ConvolutionGrad(const Executor& executor, const ConvShape& shape, const float* images,
                     const float* kernel, const MapsGrad& maps_grad, float* kernel_grad, float* images_grad);

}  // namespace fslcore
