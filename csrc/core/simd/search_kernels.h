// SPDX-License-Identifier: MIT
// Kernels of the search for the nearest rows; core/search/nearest.h has the mathematics.
#pragma once
#include <cstdint>

#include "core/pairwise/metric.h"

namespace fslcore::simd {

// A block of rows and a panel of queries. A pair is a candidate unless
//   scales[r] * sum(r, c) + offsets[r] < limits[c]
// where sum is of products, of the larger coordinates (kAbsolute), or the largest difference.
// What holds a NaN is a candidate.
struct SearchBlock {
  Pair pair;        // not kWeightedAbsolute
  bool max_by_fma;  // the form of ManhattanKernels::absolute_tile
  int64_t rows, queries, dim;
  const float* tiles;             // the rows packed by pack_tiles
  const float* panel;             // the queries packed by pack_rows
  const float *scales, *offsets;  // [rows]
  const float* limits;            // [panel]
  float* sums;                    // [rows, panel] workspace
  int32_t* found;                 // [rows * panel] the candidates as r * panel + c, by r, then c
  float* bounds;                  // [rows * panel] what was compared with the limits
};

// Rows and few queries, which meet as they lie.
struct FewQueries {
  Metric metric;  // not kWeightedManhattan
  int64_t rows, queries, dim;
  const float *x, *y;  // [rows, dim], [queries, dim]
  float* values;       // [rows, queries] as `exact` has them; for kCosine the products
  float* squares;      // [rows] of the lengths of the rows; for kCosine only
};

struct SearchKernels {
  // Returns the number of candidates.
  int64_t (*candidates)(const SearchBlock&);
  void (*few)(const FewQueries&);
  int64_t most_few;  // queries, up to which `few` is the faster way
  // The squares of the lengths of `rows` rows.
  void (*squares)(const float* x, int64_t rows, int64_t dim, float* squares);
  // The metric of two rows, coordinate by coordinate: any but kWeightedManhattan; for kCosine of rows of
  // length 1.
  float (*exact)(Metric, const float* x, const float* y, int64_t dim);
};

const SearchKernels& Search();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
