// SPDX-License-Identifier: MIT
// The products of a gradient through pairs: tiles of coefficients with the rows of the other side.
#pragma once
#include <utility>

#include "cuda/launch.h"
#include "cuda/reductions/pair_tiles.h"

namespace fslcore::cuda::reductions {

struct ProductMemory {
  TileMemory tile;
  float own[kSide * kStride], other[kSide * kStride];
  double totals[kSide];  // of the coefficients of a row
};

struct Product {
  const float *own, *other;  // what is multiplied: rows of length 1 for cosine
  float* gradient;           // [rows, dim]
};

// d loss / d (the sum inside the metric).
__device__ inline float InsideMetric(Metric metric, float slope, float value) {
  if (slope == 0.0f) return 0.0f;
  switch (metric) {
    case Metric::kSqeuclidean:
      return 2.0f * slope;
    case Metric::kEuclidean:
      return value == 0.0f ? 0.0f : slope / value;
    case Metric::kCosine:
      return -slope;
    default:
      return slope;
  }
}

// 64 rows and columns of a matrix into shared memory, zeros outside of it.
__device__ inline void LoadSquare(const float* data, int64_t rows, int64_t dim, int64_t first_row,
                                  int64_t first_d, float* square) {
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kSide; i += kTileThreads) {
    const int64_t row = first_row + i / kSide, d = first_d + i % kSide;
    square[i / kSide * kStride + i % kSide] = row < rows && d < dim ? data[row * dim + d] : 0.0f;
  }
}

// Adds the products of a tile of coefficients with 64 columns of the other rows, or with signs.
template <bool kSigns>
__device__ void MultiplySquare(const ProductMemory& memory, int64_t first_row, int64_t rows, int64_t first_d,
                               int64_t dim, float* gradient) {
  constexpr int kPerThread = 4;
  const int r0 = static_cast<int>(threadIdx.x) / 16 * kPerThread,
            d0 = static_cast<int>(threadIdx.x) % 16 * kPerThread;
  float sums[kPerThread][kPerThread] = {};
  for (int c = 0; c < kSide; ++c) {
    FSLCORE_UNROLL
    for (int i = 0; i < kPerThread; ++i) {
      const float a = memory.tile.sums[(r0 + i) * kStride + c];
      FSLCORE_UNROLL
      for (int j = 0; j < kPerThread; ++j) {
        const float y = memory.other[c * kStride + d0 + j];
        if constexpr (kSigns) {
          const float difference = memory.own[(r0 + i) * kStride + d0 + j] - y;
          sums[i][j] += difference > 0.0f          ? a
                        : difference < 0.0f        ? -a
                        : difference != difference ? NAN
                                                   : 0.0f;
        } else {
          sums[i][j] = fmaf(a, y, sums[i][j]);
        }
      }
    }
  }
  FSLCORE_UNROLL
  for (int i = 0; i < kPerThread; ++i) {
    FSLCORE_UNROLL
    for (int j = 0; j < kPerThread; ++j)
      if (first_row + r0 + i < rows && first_d + d0 + j < dim)
        gradient[(first_row + r0 + i) * dim + first_d + d0 + j] += sums[i][j];
  }
}

// The gradient of 64 rows; coefficients(first column) turns the sums of a tile into coefficients, and returns
// whether this thread has one that is not 0.
template <Pair kPair, class Coefficients>
__device__ void MultiplyTiles(const PairArguments& g, int64_t first_row, const Product& out,
                              ProductMemory& memory, const Coefficients& coefficients) {
  constexpr bool kSigns = kPair != Pair::kProduct;
  const int64_t dim = g.pairs.dim;
  for (int64_t col = 0; col < g.pairs.cols; col += kSide) {
    SumPairs<kPair>(g, first_row, col, memory.tile);
    if (!__syncthreads_or(coefficients(col))) continue;
    for (int64_t d = 0; d < dim; d += kSide) {
      LoadSquare(out.other, g.pairs.cols, dim, col, d, memory.other);
      if (kSigns) LoadSquare(out.own, g.pairs.rows, dim, first_row, d, memory.own);
      __syncthreads();
      MultiplySquare<kSigns>(memory, first_row, g.pairs.rows, d, dim, out.gradient);
      __syncthreads();
    }
  }
  __syncthreads();
  const bool of_differences = g.pairs.metric == Metric::kSqeuclidean || g.pairs.metric == Metric::kEuclidean;
  for (int64_t i = threadIdx.x; of_differences && i < kSide * dim; i += kTileThreads) {
    const int64_t row = first_row + i / dim, at = row * dim + i % dim;
    if (row < g.pairs.rows)  // sum of a (x - y) = x * sum of a - sum of a y
      out.gradient[at] = static_cast<float>(memory.totals[i / dim]) * out.own[at] - out.gradient[at];
  }
}

// The core's ProjectRows: from the gradient of a row of length 1 to that of the row.
static __global__ void ProjectRows(const float* unit, const float* norms, int64_t rows, int64_t dim,
                                   float* gradient) {
  const int64_t row = WarpOfGrid();
  if (row >= rows) return;
  const float* u = unit + row * dim;
  float* to = gradient + row * dim;
  const float along = WarpSum(LaneSum(dim, [u, to](int64_t d, float sum) { return fmaf(u[d], to[d], sum); }));
  for (int64_t d = Lane(); d < dim; d += kWarpSize)
    to[d] = norms[row] == 0.0f ? 0.0f : (to[d] - u[d] * along) / norms[row];
}

// run(whether it is that of x, Product) for each side whose gradient is wanted, with `g` turned to it; for a
// batch that is one.
template <class Run>
void ForBothSides(Launches& launches, const PairProblem& problem, const PairParts& own, PairArguments& g,
                  float* dx, float* dy, const Run& run) {
  const int64_t dim = problem.x.cols;
  const auto side = [&](bool of_x, const float* unit, const float* norms, float* gradient) {
    launches.Fill(gradient, 0, g.pairs.rows * dim);
    run(of_x, Product{g.pairs.x, g.pairs.y, gradient});
    if (unit) launches.Run(OneWarpEach(g.pairs.rows), ProjectRows, unit, norms, g.pairs.rows, dim, gradient);
  };
  side(true, own.unit_x, own.x_norms, dx);
  if (problem.rows == PairRows::kBatch) return;
  std::swap(g.pairs.x, g.pairs.y);
  std::swap(g.pairs.rows, g.pairs.cols);
  std::swap(g.pairs.x_scales, g.pairs.y_scales);
  std::swap(g.pairs.x_aligned, g.pairs.y_aligned);
  std::swap(g.own_labels, g.other_labels);
  g.of_own = false, g.of_others = true;
  side(false, own.unit_y, own.y_norms, dy);
}

}  // namespace fslcore::cuda::reductions
