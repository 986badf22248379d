// SPDX-License-Identifier: MIT
// core/reductions/pair_sum.h on a GPU, with sums in a fixed order of their own. Every pointer is to memory of
// the device; nothing is allocated, nothing waited for.
#pragma once
#include <string>

#include "core/reductions/pair_sum.h"
#include "cuda/stream.h"

namespace fslcore::cuda {

// Bytes that the function below needs at `workspace`: O((x.rows + y.rows) * dim).
int64_t SumPairsWorkspace(const PairSumProblem& problem);

// Returns an error message, or an empty string.
std::string SumPairs(Stream stream, const PairSumProblem& problem, void* workspace, const PairSums& out);

}  // namespace fslcore::cuda
