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
// compared as the integers that their bits are: with beyond = (bits of the limit) + 1, the nearest one has
// the least (bits - beyond) as an unsigned number. Distances that are not beyond the limit, and NaN, wrap
// around to the upper end of that range.
struct BeyondBlock {
  int64_t first_row, first_col;      // of the block in the batch; first_col is the first of a panel
  bool for_columns;                  // whether the columns search among the rows as well
  const int32_t *class_of, *limits;  // [batch] the class of a row and the number of its limits
  int64_t most_limits;               // of any of the columns
  int64_t stride;                    // between the limits of a row: batch, rounded up to whole panels
  const uint32_t* beyond;            // [limits, stride]
  uint32_t* excess;  // [limits, stride] in and out: only less than this counts; 0 for no limit
  int32_t* nearest;  // [limits, stride] in and out
};

// Buckets of equal steps, monotone in the distance: bucket = (distance - first) * scale, cut off at 0 and at
// `last`. Distances low < d <= high have one.
struct DistanceBuckets {
  float low, high;
  float first, scale, last;
};

// Distances in the order of their buckets. Those of one bucket are in the order of their indices, or, where
// there are many, of the distances themselves, then of the indices.
struct BucketedDistances {
  const float* distances;  // [count], kBucketWindow NaN behind them
  const int32_t* indices;  // [count]
  int64_t count;
  const int32_t* starts;  // [last + 2] of the buckets
  int32_t beyond;         // the index of the nearest distance above `high`, or -1
};

inline constexpr int64_t kBucketWindow = 16;
inline constexpr int32_t kOutsideWindow = -2;

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
  // Writes the buckets [kRowPadding] of each stretch of kRowPadding distances of which one has a bucket, and
  // where that stretch begins; last + 1 for a distance without one. Returns how many stretches these are.
  // `beyond` gets the index of the nearest distance above `high`, the first of equals, or -1.
  int64_t (*find_buckets)(const float* distances, int64_t n, const DistanceBuckets&, int32_t* buckets,
                          int32_t* stretches, int32_t* beyond);
  // What nearest_above finds, for thresholds from `low` to `high`, but kOutsideWindow if that is not among
  // the first kBucketWindow distances from the bucket of the threshold on.
  void (*nearest_in_buckets)(const DistanceBuckets&, const BucketedDistances&, const float* thresholds,
                             int64_t count, int32_t* nearest);

  // out[k] = |x - row k of `rows`|^2 for the rows that are listed, all [dim].
  void (*squared_distances)(const float* x, const float* rows, int64_t dim, const int32_t* listed,
                            int64_t count, float* out);
  // out = sum over k of weights[k] * (x - row k of `rows`).
  void (*weighted_differences)(const float* x, const float* rows, int64_t dim, const int32_t* listed,
                               const float* weights, int64_t count, float* out);

  // The same for `rows` neighbouring rows of x, each with all of `count` others:
  // out[r, k] = |x[r] - others[k]|^2, others [count, dim], out [rows, stride].
  void (*dense_squares)(const float* x, int64_t rows, const float* others, int64_t count, int64_t dim,
                        float* out, int64_t stride);
  // out[r] = sum over k of weights[r, k] * (x[r] - others[k]), weights [rows, stride], the others packed by
  // pack_columns, panel after panel.
  void (*dense_differences)(const float* x, int64_t rows, int64_t dim, const float* panels, int64_t count,
                            const float* weights, int64_t stride, float* out);
};

const TripletKernels& Triplets();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
