// SPDX-License-Identifier: MIT
// core/reductions/pair_reduction.h on a GPU: the same terms, ties and treatment of NaN, with sums in float32
// in a fixed order of their own. Every pointer is to memory of the device; nothing is allocated, nothing
// waited for.
#pragma once
#include <string>

#include "core/reductions/pair_reduction.h"
#include "cuda/stream.h"

namespace fslcore::cuda {

// Bytes that the functions below need at `workspace`: O((x.rows + y.rows) * dim).
int64_t ReducePairsWorkspace(const PairProblem& problem);
int64_t ReducePairsGradWorkspace(const PairProblem& problem);

// These return an error message, or an empty string.
std::string ReducePairs(Stream stream, const PairProblem& problem, void* workspace,
                        const ReducedPairs& reduced);
std::string ReducePairsGrad(Stream stream, const PairProblem& problem, void* workspace, const float* values,
                            const float* grad, const PairGradients& gradients);

}  // namespace fslcore::cuda
