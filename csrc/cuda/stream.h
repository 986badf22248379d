// SPDX-License-Identifier: MIT
// The work queue of a GPU under the driver's name, without any CUDA header.
#pragma once

struct CUstream_st;

namespace fslcore::cuda {

using Stream = CUstream_st*;

}  // namespace fslcore::cuda
