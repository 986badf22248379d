// SPDX-License-Identifier: MIT
// Kernels of pairwise matrices, on packed blocks; core/pairwise/pairwise.h has the
// mathematics. No rows or no columns is no work; dim = 0 gives the metric of two empty vectors.
#pragma once
#include <cstdint>

#include "core/pairwise/distance.h"
#include "core/pairwise/metric.h"

namespace fslcore::simd {

// A block of a pairwise matrix: out[r, c] = metric(x[r], y[c]).
struct PairwiseBlock {
  Metric metric;
  Activation activation;
  int64_t rows, cols, dim;
  const float *x, *y;   // [rows, dim], [cols, dim], for pairs that are evaluated again exactly
  const float* tiles;   // x packed by pack_tiles
  const float* panels;  // y packed by pack_rows, panel after panel
  // One number per row; those of y continue to the end of its last panel.
  const float *x_sums, *y_sums;      // sums (manhattan)
  const float *x_scales, *y_scales;  // sums of squares (sqeuclidean, euclidean) or of magnitudes (manhattan)
  const float* weights;              // [dim] (weighted_manhattan)
  float bias;
  bool max_by_fma;  // the form of ManhattanKernels::absolute_tile
  float* sums;      // [rows, panel] workspace; out may be the same if it is one panel wide
  float* out;       // [rows, out_stride]
  int64_t out_stride;
  bool stream;  // past the caches, into rows that are aligned to vectors
};

struct PairwiseKernels {
  // The tiles of x [rows, dim] that `block` reads; out [rows, dim].
  void (*pack_tiles)(const float* x, int64_t rows, int64_t dim, bool max_by_fma, float* out);
  // The sum of the entries, and of their magnitudes.
  void (*sums)(const float* x, int64_t n, float* sum, float* magnitude);

  void (*block)(const PairwiseBlock&);
};

const PairwiseKernels& Pairwise();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
