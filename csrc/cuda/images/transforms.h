// SPDX-License-Identifier: MIT
// core/images/transforms.h on a GPU: bit for bit the same transforms. Every pointer is to memory of the
// device; nothing is allocated, nothing waited for.
#pragma once
#include <string>

#include "core/images/transforms.h"
#include "cuda/stream.h"

namespace fslcore::cuda {

// What CheckTransformValues would refuse cannot be refused here without waiting for the device: of a negative
// seed or step, or of sizes below 1, all transforms are NaN, and so is that of a number below 0 or above
// 2^31 - 1. `sizes` are the four of AffineSizes.
std::string DrawTransforms(Stream stream, const float* distributions, const int64_t* sizes,
                           Vector<const int64_t> numbers, const int64_t* seed, const int64_t* step,
                           float* out);

}  // namespace fslcore::cuda
