// SPDX-License-Identifier: MIT
// core/images/warp.h on a GPU: bit for bit the same images wherever no number is denormal, which the core
// takes for zero. Every pointer is to memory of the device; nothing is allocated, nothing waited for.
#pragma once
#include <string>

#include "core/images/warp.h"
#include "cuda/stream.h"

namespace fslcore::cuda {

// What the core would refuse in the values of indices, turns and transforms cannot be refused here without
// waiting for the device: such an image is NaN. The sizes are the caller's to check.
std::string WarpImages(Stream stream, const FloatImages& images, const float* transforms, const Warp& warp,
                       float* out);
std::string GatherWarped(Stream stream, const Images& store, Vector<const int64_t> indices,
                         Vector<const int64_t> turns, const float* transforms, const Warp& warp, float* out);

}  // namespace fslcore::cuda
