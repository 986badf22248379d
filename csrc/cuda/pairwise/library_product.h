// SPDX-License-Identifier: MIT
// The matrix product of cuBLAS where it can be loaded while the program runs: it is never linked, and nothing
// needs it.
#pragma once
#include <string>

#include "core/arrays/views.h"
#include "core/pairwise/metric.h"
#include "cuda/launch.h"

namespace fslcore::cuda {

// The file that was found, or nothing. Looks once.
const std::string& ProductLibrary();

// What cuBLAS is given to work with, as NVIDIA advises for Hopper.
inline constexpr int64_t kLibraryWorkspace = 32 << 20;

// out [x.rows, y.rows] = x y^T in float32, or with operands rounded to TF32 or bfloat16, in which order only
// the library knows; the same from run to run. Each thread of the host has a handle of its own, made on first
// use.
void LibraryProduct(Launches& launches, Precision precision, Matrix<const float> x, Matrix<const float> y,
                    void* workspace, float* out);

}  // namespace fslcore::cuda
