// SPDX-License-Identifier: MIT
// The seam between orchestration (memory, threads, checks) and the SIMD bodies: one table of plain
// functions, filled once per instruction set by kernels_<level>.cc from the same *_body.inl files.
// A body neither allocates nor starts threads, and knows no container of the standard library.
#pragma once
#include <cstdint>

#include "core/arrays/float_bits.h"
#include "core/pairwise/metric.h"

namespace fslcore {

// A block of a Gram matrix: out[r, c] = metric(x[r], y[c]).
struct GramBlock {
  Metric metric;
  Activation activation;
  int64_t rows, cols, dim;
  const float *x, *y;   // [rows, dim], [cols, dim], for pairs that are evaluated again exactly
  const float* tiles;   // x packed by pack_tiles
  const float* panels;  // y packed by pack_rows, panel after panel
  // By row; those of y run on to the end of its last panel.
  const float *x_sums, *y_sums;      // sums (manhattan)
  const float *x_scales, *y_scales;  // sums of squares (sqeuclidean, euclidean) or of magnitudes (manhattan)
  const float* weights;              // [dim] (weighted_manhattan)
  float bias;
  float* sums;  // [rows, panel] workspace; out may be the same if it is one panel wide
  float* out;   // [rows, out_stride]
  int64_t out_stride;
  bool stream;  // past the caches, into rows that are aligned to vectors
};

// A block of coefficients of the gradient, between rows of x and rows of y, and one panel of columns of both,
// packed by pack_columns. With p(r, c) = y[c] for dx and x[r] for dy (product_grad), or sign(x[r] - y[c]) for
// dx and its negative for dy (sign_grad):
//   dx[r] += sum over c of a[r, c] * p(r, c)
//   dy[c] += sum over r of a[r, c] * p(r, c)
struct GradBlock {
  int64_t rows, cols;
  const float* a;  // [rows, a_stride]
  int64_t a_stride;
  const float *x_panel, *y_panel;  // [rows, panel], [cols, panel]
  bool first_of_dx, first_of_dy;   // there is nothing in it yet
  float *dx, *dy;                  // [rows, panel], [cols, panel]
  float* abs_differences;          // [panel] += sum over r, c of a[r, c] * |x[r] - y[c]|; or null
};

// Where one window of a convolution starts in the source and where its result goes, in floats.
struct WindowPlace {
  int64_t in, out;
};

// `length` neighbours in the source, `in` floats behind the start of the window; they meet the rows of the
// weights from `row` on.
struct WindowRun {
  int64_t in, row, length;
};

// out[place.out + c] = sum over runs and k of in[place.in + run.in + k] * weights[run.row + k, c].
struct WindowBlock {
  int64_t rows, depth, cols;  // places, rows and columns of the weights
  const WindowPlace* places;
  const WindowRun* runs;
  int64_t run_count;
  const float* in;
  const float* panels;  // the weights packed by pack_columns
  float* out;
};

// out[k, c] += sum over places of in[place.in + k] * grad[place.out + c].
struct WindowGradBlock {
  int64_t rows, cols;
  const WindowPlace* places;
  int64_t place_count;
  const float* in;
  const float* grad;
  float* out;  // [rows, cols]
};

// max(0, (x - mean) * scale + beta) by columns, all [cols].
struct NormalisedRelu {
  int64_t cols;
  const float *mean, *scale, *beta;
};

// `rows` of `width` windows of pool x pool neighbours in x, side by side; x_row floats from a row of x to the
// next. The results lie without gaps.
struct PoolWindows {
  int64_t pool, rows, width, x_row;  // pool is 1 or 2
};

// Of Adam without momentum (adam_step.h).
struct AdamSettings {
  float learning_rate, beta_2;
  float one_minus_beta_2;  // rounded by itself: from a rounded beta_2 near 1 it would keep few digits
  float epsilon;
};

// Each output may be one of the inputs itself.
struct AdamTensor {
  int64_t size;
  const float *weights, *gradients, *squares;
  float *new_weights, *new_squares;
};

// The search for the nearest row of another class strictly beyond each limit of a row, in the distances of
// `rows` rows from the columns of a panel. Distances are +0 or above and compared as the integers that their
// bits are: with beyond = (bits of the limit) + 1, the nearest one has the least (bits - beyond) as an
// unsigned number, whose range also holds what is not beyond, far above. NaN stands behind the last column.
struct BeyondBlock {
  int64_t rows, first_row, first_col;  // first_col is that of a panel
  const float* distances;              // [rows, panel]
  const int32_t *class_of, *limits;    // [batch] the class of a row and the number of its limits
  int64_t most_limits;                 // of any of the columns
  int64_t stride;                      // between the limits of a row: batch, rounded up to whole panels
  const uint32_t* beyond;              // [limits, stride]
  uint32_t* excess;                    // [limits, stride] in and out: only less than this counts
  int32_t* nearest;                    // [limits, stride] in and out
};

// Thresholds in increasing order, and for each gap between them the nearest distance that lies in it. A table
// of equal steps, monotone in the distance, leads to the few thresholds near it.
struct DistanceGaps {
  float low, high;          // the first and the last threshold
  float scale, last;        // bucket = (distance - low) * scale, cut off at 0 and at `last`
  const int32_t* starts;    // [last + 2] thresholds in lower buckets
  const float* thresholds;  // [starts[last + 1] + 1], infinity behind them
  uint64_t* nearest;        // [thresholds + 1] in and out: the least NearestKey with so many thresholds below
};

// Distances, which are +0 or above, in increasing order and then by index; kNoNearest comes after all.
inline constexpr uint64_t kNoNearest = ~uint64_t{0};
constexpr uint64_t NearestKey(uint32_t distance_bits, int64_t index) {
  return uint64_t{distance_bits} << 32 | static_cast<uint64_t>(index);
}

inline constexpr int64_t kRowPadding = 16;  // the widest vector

struct SimdKernels {
  int64_t lanes;      // floats of a vector
  int64_t panel;      // columns of a packed panel
  int64_t tile_rows;  // rows that meet a panel at a time

  // out[c * out_stride + r] = in[r * in_stride + c].
  void (*transpose)(const float* in, int64_t in_stride, int64_t rows, int64_t cols, float* out,
                    int64_t out_stride);
  // out[k * panel + c] = y[first + c, k]; rows beyond `rows` are zero.
  void (*pack_rows)(const float* y, int64_t rows, int64_t dim, int64_t first, float* out);
  // The tiles of x [rows, dim] that `gram` goes by; out [rows, dim].
  void (*pack_tiles)(const float* x, int64_t rows, int64_t dim, float* out);
  // out[k * panel + c] = y[k, first + c]; columns beyond `dim` are zero.
  void (*pack_columns)(const float* y, int64_t rows, int64_t dim, int64_t first, float* out);

  float (*dot)(const float* x, const float* y, int64_t n);
  void (*sums)(const float* x, int64_t n, float* sum, float* magnitude);  // of entries, of their magnitudes
  void (*axpy)(float a, const float* x, float* y, int64_t n);             // y += a * x

  void (*gram)(const GramBlock&);
  void (*product_grad)(const GradBlock&);
  void (*sign_grad)(const GradBlock&);
  // d out / d (the sum inside the metric) times the incoming gradient, for `n` neighbours; returns their sum.
  float (*coefficients)(Metric, Activation, const float* grad, const float* out, int64_t n,
                        float* coefficients);

  void (*nearest_of_rows)(const BeyondBlock&);
  void (*nearest_of_columns)(const BeyondBlock&);
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

  void (*window)(const WindowBlock&);
  void (*window_grad)(const WindowGradBlock&);

  // Pairs of floats rounded to bfloat16, in the bits of one float, the first in the lower half:
  // out[r, k] = (in[r, 2 * k], in[r, 2 * k + 1]), 0 behind an odd last column.
  void (*pair_neighbours)(const float* in, int64_t rows, int64_t cols, float* out);
  // out[i] = (first[i], second[i]), or with 0 if there is no second.
  void (*pair_rows)(const float* first, const float* second, int64_t n, float* out);
  // The same with pairs for the factors, whose products are both added, in float32.
  void (*window_pairs)(const WindowBlock&);
  void (*window_grad_pairs)(const WindowGradBlock&);

  // The mean and the sum of (x - mean)^2 of each column of x [rows, cols], rows > 0.
  void (*moments)(const float* x, int64_t rows, int64_t cols, float* mean, float* squares);
  // The largest NormalisedRelu of each window.
  void (*pooled_relu)(const NormalisedRelu&, const PoolWindows&, const float* x, float* out);
  // With d = the gradient of a window's result for the first of its largest elements if that is positive, and
  // 0 for others: the sums of d and of d * (x - mean) by columns.
  void (*pooled_relu_sums)(const NormalisedRelu&, const PoolWindows&, const float* x, const float* grad,
                           float* sums, float* products);
  // dx = scale * (d - offset - (x - mean) * slope), offset and slope [cols]. dx may be x.
  void (*pooled_relu_grad)(const NormalisedRelu&, const PoolWindows&, const float* x, const float* grad,
                           const float* offset, const float* slope, float* dx);

  // The squares, and the weights by them: the learning rate is that of this step.
  void (*adam)(const AdamSettings&, const AdamTensor&);

  // out[i] = float(in[i]) * scale + shift, rounded twice like the same expression in NumPy.
  void (*scale_bytes)(const uint8_t* in, int64_t n, float scale, float shift, float* out);

  // `steps` fused multiply-adds on every lane of a register tile; *result depends on all of them, and comes
  // to 2 for each lane. Returns the number of floating-point operations.
  int64_t (*multiply_adds)(int64_t steps, float* result);
};

const SimdKernels& Simd();  // the table of ActiveCpuLevel()

namespace portable {
extern const SimdKernels kKernels;
}
namespace avx2 {
extern const SimdKernels kKernels;
}
namespace avx512 {
extern const SimdKernels kKernels;
}
namespace avx512bf16 {
extern const SimdKernels kKernels;
}

}  // namespace fslcore
