// SPDX-License-Identifier: MIT
// The work queue of a GPU, as the driver names it: known without any CUDA header.
#pragma once

struct CUstream_st;

namespace fslcore::cuda {

using Stream = CUstream_st*;

}  // namespace fslcore::cuda
