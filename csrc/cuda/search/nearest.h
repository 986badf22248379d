// SPDX-License-Identifier: MIT
// core/search/nearest.h on a GPU: the same metrics, order and candidates; a candidate is evaluated by a warp,
// in an order of its own. Every pointer is to memory of the device; nothing is allocated, nothing waited for.
#pragma once
#include <string>

#include "core/arrays/views.h"
#include "core/pairwise/metric.h"
#include "cuda/stream.h"

namespace fslcore::cuda {

// Bytes that Nearest needs at `workspace`: O(queries * (dim + k) + rows).
int64_t NearestWorkspace(Metric metric, Matrix<const float> queries, Matrix<const float> rows, int64_t k);

// values and indices [queries.rows, k]. `real` is how many rows there are, a number on the device, or null
// for all. If they are fewer than k, which cannot be refused here without waiting for it, NaN and -1 stand
// behind them. Returns an error message, or an empty string.
std::string Nearest(Stream stream, Metric metric, Matrix<const float> queries, Matrix<const float> rows,
                    const int32_t* real, int64_t k, void* workspace, float* values, int32_t* indices);

}  // namespace fslcore::cuda
