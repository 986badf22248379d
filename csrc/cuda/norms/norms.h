// SPDX-License-Identifier: MIT
// core/norms/norms.h on a GPU: the same values and gradients, summed in an order of its own that does not
// change from run to run. Every pointer is to memory of the device; nothing is allocated, nothing waited for.
#pragma once
#include <string>

#include "core/norms/norms.h"
#include "cuda/stream.h"

namespace fslcore::cuda {

// Bytes that the functions below need at `workspace`: O(rows * cols) with softmax, and for the gradient
// O(rows * dim) more.
int64_t PairwiseNormsWorkspace(const NormNetwork& network, const NormRows& x, const NormRows& y);
int64_t PairwiseNormsGradWorkspace(const NormNetwork& network, const NormRows& x, const NormRows& y);

// out [x.rows, y.rows]; `bias` is a scalar on the device, and network.bias is not read. These return an error
// message, or an empty string.
std::string PairwiseNorms(Stream stream, const NormNetwork& network, const float* bias, const NormRows& x,
                          const NormRows& y, void* workspace, float* out);

// `grad` is d loss / d out and `out` what PairwiseNorms returned, both [x.rows, y.rows].
std::string PairwiseNormsGrad(Stream stream, const NormNetwork& network, const NormRows& x, const NormRows& y,
                              const float* grad, const float* out, void* workspace,
                              const NormsGradients& gradients);

}  // namespace fslcore::cuda
