// SPDX-License-Identifier: MIT
// Pairwise with either of its tiles, for Pairwise, which chooses, and for the tests.
#pragma once
#include "cuda/gram.h"

namespace fslcore::cuda {

constexpr int kSmallTile = 64, kLargeTile = 128;

// `side` is one of these.
std::string PairwiseInTiles(int side, Stream stream, const PairwiseKernel& kernel, Matrix<const float> x,
                            Matrix<const float> y, void* workspace, float* out);

}  // namespace fslcore::cuda
