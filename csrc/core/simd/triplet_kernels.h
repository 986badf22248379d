// SPDX-License-Identifier: MIT
// Kernels of triplet mining: searches in tiles and in rows of distances, and sums over lists of rows. Of
// equal distances the lowest index is found, and NaN never. Rows, lists and thresholds may be empty.
#pragma once
#include <cstdint>

#include "core/arrays/float_bits.h"
#include "core/simd/pairwise_kernels.h"

namespace fslcore::simd {

// The search for the nearest row of another class strictly beyond each limit of a row, among the distances of
// a block of rows from the columns of one panel, none of which is stored. Distances are +0 or above and
// compared as the integers that their bits are: with beyond = (bits of the limit) + 1, the nearest one has the
// least (bits - beyond) as an unsigned number. Distances that are not beyond the limit, and NaN, wrap around to
// the upper end of that range.
struct BeyondBlock {
  int64_t first_row, first_col;      // of the block in the batch; first_col is the first of a panel
  bool for_columns;                  // whether the columns search among the rows as well
  const int32_t *class_of, *limits;  // [batch] the class of a row and the number of its limits
  int64_t most_limits;               // of any of the columns
  int64_t stride;                    // between the limits of a row: batch, rounded up to whole panels
  const uint32_t* beyond;            // [limits, stride]
  uint32_t* excess;                  // [limits, stride] in and out: only less than this counts; 0 for no limit
  int32_t* nearest;                  // [limits, stride] in and out
};

// Thresholds in increasing order, and for each gap between them the nearest distance that lies in it. A table
// of equal steps, monotone in the distance, leads to the few thresholds near it.
struct DistanceGaps {
  float low, high;          // the first and the last threshold
  float scale, last;        // bucket = (distance - low) * scale, cut off at 0 and at `last`
  const int32_t* starts;    // [last + 2] thresholds in lower buckets
  const float* thresholds;  // [starts[last + 1] + 1], infinity behind them
  uint64_t* nearest;        // [thresholds + 1] in and out: the least NearestKey with i thresholds below
};

// Orders distances, which are +0 or above, first by distance and then by index; kNoNearest comes after all.
inline constexpr uint64_t kNoNearest = ~uint64_t{0};
constexpr uint64_t NearestKey(uint32_t distance_bits, int64_t index) {
  return uint64_t{distance_bits} << 32 | static_cast<uint64_t>(index);
}

inline constexpr int64_t kRowPadding = 16;  // the widest vector

struct TripletKernels {
  // In the distances of a block of up to one panel of columns, of sqeuclidean, euclidean or cosine; its `out`
  // is not used.
  void (*nearest_beyond)(const PairwiseBlock&, const BeyondBlock&);

  // The three searches in rows take distances padded with NaN to a multiple of kRowPadding.
  // Index of the largest distance, the first of equals; -1 if all are NaN.
  int64_t (*farthest)(const float* distances, int64_t n);
  // For each threshold the index of the smallest distance strictly above it, the first of equals; -1 if there
  // is none, as for a NaN threshold.
  void (*nearest_above)(const float* distances, int64_t n, const float* thresholds, int64_t count,
                        int32_t* nearest);
  void (*nearest_in_gaps)(const float* distances, int64_t n, const DistanceGaps&);

  // out[k] = |x - row k of `rows`|^2 for the rows that are listed, all [dim].
  void (*squared_distances)(const float* x, const float* rows, int64_t dim, const int32_t* listed,
                            int64_t count, float* out);
  // out = sum over k of weights[k] * (x - row k of `rows`).
  void (*weighted_differences)(const float* x, const float* rows, int64_t dim, const int32_t* listed,
                               const float* weights, int64_t count, float* out);
};

const TripletKernels& Triplets();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
