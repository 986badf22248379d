// SPDX-License-Identifier: MIT
// Kernels of the gradients of the product metrics, which are two matrix products: slopes times the rows of
// the other side. core/pairwise/product_grad.cc has the mathematics.
#pragma once
#include <cstdint>

#include "core/pairwise/metric.h"

namespace fslcore::simd {

// A block of the slopes a(r, c) of a pairwise matrix, without their constant factors: the incoming gradient,
// or for euclidean its quotient by the distance, 0 at distance 0. `tiles` gets them as the left side of a
// product: tile after tile of tile_rows rows, each [depth, rows of the tile]. It has room for a vector more.
struct SlopeBlock {
  Metric metric;
  int64_t rows, cols;
  const float *grad, *out;  // [rows, stride]; out is read for euclidean only
  int64_t stride;
  float* tiles;  // rows x cols (pack_slopes), or cols x rows (pack_slopes_across)
  float* sums;   // of the slopes of each row of the left side, added to what is there; or null
};

// sums += the left side, packed, times a panel of the right side.
struct ProductBlock {
  int64_t rows, depth;
  const float* tiles;  // [rows, depth], packed
  const float* panel;  // [depth, panel]
  bool first;          // the sums are uninitialised
  float* sums;         // [rows, panel]
  // Fetched meanwhile: the panel that follows, and rows of the matrices that are packed later.
  const float* next_panel;
  const float *ahead, *also_ahead;  // [ahead_rows, ahead_cols]; the second may be null
  int64_t ahead_rows, ahead_cols, ahead_stride;
};

// out[r, c] = scale * (the sum over parts of sums[r, c]) + own_scales[r] * own[r, c], one panel.
struct ProductRows {
  int64_t rows, cols;  // cols <= panel
  int64_t parts, part_stride;
  const float* sums;  // [parts, rows, panel], parts part_stride floats apart
  float scale;
  const float *own, *own_scales;  // [rows, stride], [rows]; or null
  float* out;                     // [rows, stride]
  int64_t stride;
};

struct ProductGradKernels {
  void (*pack_slopes)(const SlopeBlock&);         // the rows of the block are the left side's
  void (*pack_slopes_across)(const SlopeBlock&);  // its columns are
  void (*multiply)(const ProductBlock&);
  void (*finish)(const ProductRows&);
};

const ProductGradKernels& ProductGrad();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
