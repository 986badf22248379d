// SPDX-License-Identifier: MIT
// Kernels on single rows for pairwise matrices and their gradients: lengths and normalised rows. One warp
// per row.
#pragma once
#include "cuda/pairwise/tensor_tile.h"
#include "cuda/threads.h"

namespace fslcore::cuda::pairwise {

// The sum of f(d) over this lane's share of d < dim.
template <class F>
__device__ float LaneSum(int64_t dim, const F& f) {
  float sum = 0.0f;
  for (int64_t d = threadIdx.x % 32; d < dim; d += 32) sum = f(d, sum);
  return sum;
}

// scales[i] = factor * sum of the squares of row i, its entries rounded as they are multiplied.
template <Precision kPrecision>
__global__ void SquareRows(const float* x, int64_t rows, int64_t dim, float factor, float* scales) {
  const int64_t row = WarpOfGrid();
  if (row >= rows) return;
  const float* from = x + row * dim;
  const float sum = WarpSum(LaneSum(dim, [from](int64_t d, float total) {
    const float value = RoundedTo<kPrecision>(from[d]);
    return fmaf(value, value, total);
  }));
  if (threadIdx.x % 32 == 0) scales[row] = factor * sum;
}

// The core's NormaliseRows: scaled by the largest entry first, so that neither tiny nor huge rows under- or
// overflow when squared.
template <bool kNorms>
__global__ void NormaliseRows(const float* x, int64_t rows, int64_t dim, float* unit, float* norms) {
  const int64_t row = WarpOfGrid(), lane = threadIdx.x % 32;
  if (row >= rows) return;
  const float* from = x + row * dim;
  float largest = 0.0f;
  for (int64_t d = lane; d < dim; d += 32) largest = fmaxf(largest, fabsf(from[d]));
  largest = WarpMax(largest);
  const float scale = largest >= kSmallestNormal ? 1.0f / largest : 1.0f;
  const float length = sqrtf(WarpSum(LaneSum(dim, [from, scale](int64_t d, float sum) {
    const float value = from[d] * scale;
    return fmaf(value, value, sum);
  })));
  for (int64_t d = lane; d < dim; d += 32) {
    const float value = from[d] * scale;
    unit[row * dim + d] = length == 0.0f ? 0.0f * value : value / length;  // subnormal entries become 0
  }
  if (kNorms && lane == 0) norms[row] = length / scale;
}

inline bool IsSame(Matrix<const float> x, Matrix<const float> y) {
  return x.data == y.data && x.rows == y.rows;
}

}  // namespace fslcore::cuda::pairwise
