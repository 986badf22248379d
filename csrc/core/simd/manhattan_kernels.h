// SPDX-License-Identifier: MIT
// Kernels of the metrics that are made of |x - y|, manhattan, weighted_manhattan and chebyshev, beyond those
// of all pairwise metrics; core/pairwise/pairwise.h has the mathematics. No rows or no columns is no work.
#pragma once
#include <cstdint>

#include "core/pairwise/metric.h"

namespace fslcore::simd {

// A tile of |x - y|, height x panel pairs, on top of `sums`, [height, panel]: the sums of max(x, y).
struct AbsoluteTile {
  int64_t depth;
  const float* tile;   // [depth, height]
  const float* panel;  // [depth, panel]
  float* sums;
};

// A block of coefficients of the gradient, between rows of x and rows of y, and one panel of columns of both,
// packed by pack_signs. With u = ManhattanKernels::sign_unit and s(r, c) = u * sign(x[r] - y[c]):
//   dx[r] += sum over c of a[r, c] * s(r, c)
//   dy[c] -= sum over r of a[r, c] * s(r, c)
struct SignGradBlock {
  int64_t rows, cols;
  const float* a;  // [rows, a_stride]
  int64_t a_stride;
  const float *x_panel, *y_panel;       // [rows, panel], [cols, panel]
  bool first_of_dx, first_of_dy;        // the gradient is uninitialised: it is written, not added to
  float *dx, *dy;                       // [rows, panel], [cols, panel]
  float* abs_differences;               // [panel] += sum over r, c of a[r, c] * |x[r] - y[c]|; or null
  const float *next_y_panel, *next_dy;  // of the next block, to be fetched ahead; or null
};

// Rows of a gradient from the panels of SignGradBlock: out[r, d] = scale * weights[d] * sum over the copies.
struct SignGradRows {
  int64_t rows, dim, copies;
  const float* gradient;  // of the first row, [copies][panels][panel_stride], each row a panel wide
  int64_t panel_stride;
  const float* weights;  // [dim], or null for ones
  float* out;            // [rows, dim]
};

// A block of pairs of rows for a metric that depends on one coordinate of each: the first, d, where |x[r, d]
// - y[c, d]| = out[r, c]:
//   dx[r, d] += grad[r, c] * sign(x[r, d] - y[c, d]), and subtracted from dy[c, d]
// Nothing where `out` is 0; NaN is added to all coordinates where `out` is NaN.
struct LargestGradBlock {
  int64_t rows, cols, dim;
  const float *x, *y;       // [rows, dim], [cols, dim]
  const float *grad, *out;  // [rows, stride]
  int64_t stride;
  float *dx, *dy;  // [rows, dim], [cols, dim]
};

struct ManhattanKernels {
  // The same bits in two forms, of which either may be the faster: sum + max(x, y), and sum + 1 * max(x, y)
  // by a multiply-add. Returns the height, at most tile_rows.
  int64_t (*absolute_tile[2])(const AbsoluteTile&);

  float sign_unit;
  // As RowKernels::pack_columns, with -0 as 0. Returns whether fast_sign_grad takes the panel.
  bool (*pack_signs)(const float* y, int64_t rows, int64_t dim, int64_t first, float* out);
  // For any numbers: pairs at distance 0 add nothing, whatever their coefficient is, and NaN gives NaN.
  void (*sign_grad)(const SignGradBlock&);
  // The same bits for finite coefficients and panels that pack_signs found fit.
  void (*fast_sign_grad)(const SignGradBlock&);
  void (*finish_signs)(const SignGradRows&);

  // d out / d (the sum inside the metric) times the incoming gradient, for `n` neighbours; returns their sum.
  float (*slopes)(Activation, const float* grad, const float* out, int64_t n, float* slopes);

  void (*largest_grad)(const LargestGradBlock&);
};

const ManhattanKernels& Manhattan();  // at ActiveCpuLevel()

// Whether the multiply-add is the faster form of absolute_tile on this CPU. Measured at the first call, in
// about four milliseconds.
bool MaxByFma();

}  // namespace fslcore::simd
