// SPDX-License-Identifier: MIT
// Kernels of convolution blocks: windows of a convolution, its bfloat16 factors, and the passes of the batch
// normalisation after it; core/convolution/conv_block.h has the mathematics. No places, rows or columns is no
// work.
#pragma once
#include <cstdint>

#include "core/arrays/float_bits.h"

namespace fslcore::simd {

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

struct ConvolutionKernels {
  void (*window)(const WindowBlock&);
  void (*window_grad)(const WindowGradBlock&);

  // Pairs of floats rounded to bfloat16, in the bits of one float, the first in the lower half:
  // out[r, k] = (in[r, 2 * k], in[r, 2 * k + 1]), 0 behind an odd last column.
  void (*pair_neighbours)(const float* in, int64_t rows, int64_t cols, float* out);
  // out[i] = (first[i], second[i]), or with 0 if there is no second.
  void (*pair_rows)(const float* first, const float* second, int64_t n, float* out);
  // window and window_grad with pairs for the factors, whose products are both added, in float32.
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
};

const ConvolutionKernels& Convolution();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
