// SPDX-License-Identifier: MIT
// core/triplets/triplets.h on a GPU: the same triplets, term by term, chosen by float32 distances evaluated
// in the same way. Every pointer is to memory of the device; nothing is allocated, nothing waited for.
//
// Results do not change from run to run. Gradients are added up in integers, which adds to the rounding of
// float32 at most 2^-58 of the largest finite |x| (of 1 for euclidean and cosine) for each triplet of the
// row. If anything that is not finite is added to a row, its whole gradient is NaN, also where the core has a
// number or an infinity.
//
// Workspace: the batch once more, 8 bytes for each entry of the gradient, and for each row some hundred
// bytes; by the rule of pairs in batches of up to 8448 rows 900 more.
#pragma once
#include <string>

#include "core/arrays/views.h"
#include "core/pairwise/metric.h"
#include "core/triplets/triplets.h"
#include "cuda/stream.h"

namespace fslcore::cuda {

// The first *rows rows of x are the batch, the others padding; all of them if rows is null. The metric is one
// that CheckTriplets accepts.
struct TripletBatch {
  Mining mining;
  Metric metric;
  Matrix<const float> x;
  const int64_t* labels;  // [x.rows]
  const int32_t* rows;
};

// Bytes that the functions below need at `workspace`.
int64_t TripletLossWorkspace(const TripletBatch& batch);
int64_t MineTripletsWorkspace(const TripletBatch& batch);

// These return an error message, or an empty string.
// grad [x.rows, x.cols] = d loss / d x, zero for padding; loss and triplets are scalars.
std::string TripletLossAndGrad(Stream stream, const TripletBatch& batch, float margin, void* workspace,
                               float* loss, float* grad, int64_t* triplets);

// How many triplets MineTriplets writes.
std::string CountTriplets(Stream stream, const TripletBatch& batch, void* workspace, int64_t* triplets);

// By anchor, then by positive, at most `room` of them to each, and zeros behind them; `written`, if not null,
// gets their number, a scalar.
std::string MineTriplets(Stream stream, const TripletBatch& batch, void* workspace, int64_t room,
                         int32_t* anchor, int32_t* positive, int32_t* negative, int32_t* written = nullptr);

}  // namespace fslcore::cuda
