// SPDX-License-Identifier: MIT
// Pairwise with either of its tiles and by a library, for Pairwise, which chooses, and for the tests.
#pragma once
#include "cuda/pairwise/pairwise.h"

namespace fslcore::cuda {

constexpr int kSmallTile = 64, kLargeTile = 128;

// `side` is one of these.
std::string PairwiseInTiles(int side, Stream stream, const PairwiseKernel& kernel, Matrix<const float> x,
                            Matrix<const float> y, void* workspace, float* out);

// The products in TF32 or bfloat16 by a library, which must have been found. Needs
// PairwiseByLibraryWorkspace() bytes in addition to PairwiseWorkspace().
int64_t PairwiseByLibraryWorkspace(Matrix<const float> x, Matrix<const float> y);
std::string PairwiseByLibrary(Stream stream, const PairwiseKernel& kernel, Matrix<const float> x,
                              Matrix<const float> y, void* workspace, float* out);

}  // namespace fslcore::cuda
