// SPDX-License-Identifier: MIT
// Kernels on rows of floats that several families share: packing, transposition, inner products. Rows and
// columns may be empty: an inner product of nothing is 0.
#pragma once
#include <cstdint>

namespace fslcore::simd {

struct RowKernels {
  int64_t lanes;      // floats of a vector
  int64_t panel;      // columns of a packed panel
  int64_t tile_rows;  // rows that meet a panel at a time
  int64_t depth;      // rows of a panel that meet rows at a time: they stay in the L1 cache

  // out[c * out_stride + r] = in[r * in_stride + c].
  void (*transpose)(const float* in, int64_t in_stride, int64_t rows, int64_t cols, float* out,
                    int64_t out_stride);
  // out[k * panel + c] = y[first + c, k]; rows beyond `rows` are zero.
  void (*pack_rows)(const float* y, int64_t rows, int64_t dim, int64_t first, float* out);
  // out[k * panel + c] = y[k, first + c]; columns beyond `dim` are zero.
  void (*pack_columns)(const float* y, int64_t rows, int64_t dim, int64_t first, float* out);

  // unit = x scaled to length 1, zeros if x is zero; returns the length.
  float (*normalise)(const float* x, int64_t n, float* unit);
  // to = from, past the caches except for lines that are not written whole.
  void (*stream)(const float* from, int64_t n, float* to);
  void (*end_stream)();  // before another thread reads what was streamed

  float (*dot)(const float* x, const float* y, int64_t n);
  void (*axpy)(float a, const float* x, float* y, int64_t n);  // y += a * x
};

const RowKernels& Rows();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
