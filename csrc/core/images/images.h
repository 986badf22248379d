// SPDX-License-Identifier: MIT
// The fused gather: uint8 images picked by index, turned by quarters, resized, scaled to float32 in one pass.
#pragma once
#include <string>

#include "core/arrays/sizes.h"
#include "core/arrays/views.h"
#include "core/threads/parallel.h"

namespace fslcore {

// How a picked image is changed after its turns: it is resized to height x width, or keeps its size if both
// are 0; then value * scale + shift. Resizing is bilinear between the centres of pixels and without
// antialiasing, in the arithmetic of tf.image.resize.
struct ImageChange {
  int64_t height = 0, width = 0;
  float scale = 1.0f, shift = 0.0f;

  bool resizes() const { return height > 0; }
  int64_t out_height(int64_t in_height) const { return resizes() ? height : in_height; }
  int64_t out_width(int64_t in_width) const { return resizes() ? width : in_width; }
};

// Error messages, empty if all is well. Of the sizes: those of the rotations begin those of the indices, and
// [0] means none.
std::string CheckGatherSizes(const Sizes& store, const Sizes& indices, const Sizes& rotations,
                             const ImageChange& change);
// Of the values. `turns` holds one number of counter-clockwise quarter turns, 0..3, for each run of
// indices.size / turns.size consecutive indices (a class of an episode, say); it may be empty for none.
std::string CheckGather(const Images& store, Vector<const int64_t> indices, Vector<const int64_t> turns,
                        const ImageChange& change);

// out [indices.size, change.out_height(height), change.out_width(width), channels], rounded twice when
// scaled.
void GatherImages(const Executor& executor, const Images& store, Vector<const int64_t> indices,
                  Vector<const int64_t> turns, const ImageChange& change, float* out);

}  // namespace fslcore
