// SPDX-License-Identifier: MIT
// The fused gather: uint8 images picked by index, turned by quarters, scaled to float32 in one pass.
#pragma once
#include <string>

#include "core/parallel.h"
#include "core/sizes.h"
#include "core/views.h"

namespace fslcore {

// The rotations' shape must begin that of the indices; [0] means none.
// `turns` holds one number of counter-clockwise quarter turns, 0..3, for each run of indices.size /
// turns.size consecutive indices (a class of an episode, say); it may be empty for none.
std::string CheckRotations(const Sizes& indices, const Sizes& rotations);
std::string CheckGather(const Images& store, Vector<const int64_t> indices, Vector<const int64_t> turns);

// out [indices.size, height, width, channels] = float(store[index]) * scale + shift, rounded twice.
void GatherImages(const Executor& executor, const Images& store, Vector<const int64_t> indices,
                  Vector<const int64_t> turns, float scale, float shift, float* out);

}  // namespace fslcore
