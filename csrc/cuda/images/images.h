// SPDX-License-Identifier: MIT
// core/images/images.h on a GPU: bit for bit the same images. Every pointer is to memory of the device;
// nothing is allocated, nothing waited for.
#pragma once
#include <string>

#include "core/arrays/views.h"
#include "core/images/images.h"
#include "cuda/stream.h"

namespace fslcore::cuda {

// out [indices.size, change.out_height(height), change.out_width(width), channels]. What CheckGather would
// refuse in the values of indices and turns cannot be refused here without waiting for the device: such an
// image is NaN. The sizes are the caller's to check. The same bits as the core's wherever no number is
// denormal, which the core takes for zero. An image may have 2^30 values. Fastest where a row of an image has
// a multiple of four values and out is aligned to four of them.
std::string GatherImages(Stream stream, const Images& store, Vector<const int64_t> indices,
                         Vector<const int64_t> turns, const ImageChange& change, float* out);

}  // namespace fslcore::cuda
