// SPDX-License-Identifier: MIT
#include "core/pairwise/pairwise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/simd/manhattan_kernels.h"
#include "core/simd/pairwise_kernels.h"
#include "core/simd/row_kernels.h"

namespace fslcore {
namespace {

// Floats of a block of rows, which meets all panels: 192 KB of an L2 cache of 512 KB or, with AVX-512, twice
// as much of 1 MB. The panels are read from beyond it seldom enough.
int64_t BlockFloats() { return simd::Rows().lanes < 16 ? 48 << 10 : 96 << 10; }
constexpr int64_t kLowestTallBlock = 48;
// When y is x, the squares on the diagonal are computed whole, so blocks are smaller.
constexpr int64_t kTallestBlock = 192, kSymmetricBlock = 128;
// Columns of a symmetric block that are computed before they are mirrored, 256 KB: they are still in the
// cache.
constexpr int64_t kMirroredColumns = 512;
// Few rows of x meet the rows of y by blocks of this many floats, half a megabyte: the thread that needs
// their panels packs them into its cache.
constexpr int64_t kWideBlock = 1 << 17;
// Outputs of this size and above bypass the caches, which saves reading memory that is about to be
// overwritten.
constexpr int64_t kStreamedOutput = 16 << 20;

bool Same(Matrix<const float> x, Matrix<const float> y) { return x.data == y.data && x.rows == y.rows; }

// The height of blocks: equal heights, a multiple of eight blocks, so that threads end together; higher if a
// row has little work. A function of the shape alone.
int64_t BlockRows(int64_t rows, int64_t dim, int64_t tallest, int64_t multiple, int64_t work_of_row) {
  tallest = std::clamp(BlockFloats() / std::max<int64_t>(1, dim), kLowestTallBlock, tallest);
  const int64_t blocks = std::max<int64_t>(1, RoundUp(DivideUp(rows, tallest), 8));
  const int64_t worthwhile = std::min(tallest, kWorkWorthAThread / std::max<int64_t>(1, work_of_row));
  return RoundUp(std::max<int64_t>({1, worthwhile, DivideUp(rows, blocks)}), multiple);
}

bool UsesScales(Metric metric) {
  return metric == Metric::kSqeuclidean || metric == Metric::kEuclidean || metric == Metric::kManhattan;
}

// The sums and scales that finish the sums of pairs (PairwiseBlock); zero beyond the last row, up to `padded`
// rows.
void RowScales(const Executor& executor, Metric metric, Matrix<const float> x, int64_t padded, float* sums,
               float* scales) {
  std::fill(sums + x.rows, sums + padded, 0.0f);
  std::fill(scales + x.rows, scales + padded, 0.0f);
  ParallelFor(executor, x.rows, RowsWorthAThread(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (metric == Metric::kManhattan)
        simd::Pairwise().sums(x.row(i), x.cols, sums + i, scales + i);
      else
        scales[i] = simd::Rows().dot(x.row(i), x.row(i), x.cols);
    }
  });
}

}  // namespace

std::string CheckPairwise(Metric metric, Activation activation, const Sizes& x, const Sizes& y,
                          const Sizes& weights, const Sizes& bias) {
  const std::string problem = FirstOf({CheckAxes("x", x, 2), CheckAxes("y", y, 2),
                                       CheckAxes("weights", weights, 1), CheckAxes("bias", bias, 0)});
  if (!problem.empty()) return problem;
  if (x[1] != y[1])
    return "x and y must have the same number of columns, received x: " + ShapeText(x) +
           ", y: " + ShapeText(y);
  const bool weighted = metric == Metric::kWeightedManhattan;
  if (weighted && weights[0] != x[1])
    return "weights must hold one number per column of x (" + std::to_string(x[1]) +
           ") for weighted_manhattan, received " + std::to_string(weights[0]);
  if (!weighted && (weights[0] != 0 || activation != Activation::kNone))
    return "weights and activation belong to the metric weighted_manhattan, received metric: " +
           std::string(kMetricNames[static_cast<size_t>(metric)]);
  return "";
}

std::string CheckPairwiseGrad(Metric metric, Activation activation, const Sizes& x, const Sizes& y,
                              const Sizes& weights, const Sizes& bias, const Sizes& grad, const Sizes& out) {
  const std::string problem = FirstOf({CheckPairwise(metric, activation, x, y, weights, bias),
                                       CheckAxes("grad", grad, 2), CheckAxes("out", out, 2)});
  if (!problem.empty()) return problem;
  const Sizes expected = {x[0], y[0]};
  for (const auto& [name, received] : {std::pair{"grad", &grad}, std::pair{"out", &out}})
    if (*received != expected)
      return std::string(name) + " must be " + ShapeText(expected) +
             ", one number per pair of rows, received " + ShapeText(*received);
  return "";
}

void NormaliseRows(const Executor& executor, Matrix<const float> x, float* unit, float* norms) {
  ParallelFor(executor, x.rows, RowsWorthAThread(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      // Scaled by the largest entry first, so that neither tiny nor huge rows under- or overflow when
      // squared. The reciprocal of an entry above 2^126 would be subnormal, and flushed: such rows are halved
      // twice before. A row of subnormal entries counts as zeros.
      float largest = 0.0f;
      for (int64_t d = 0; d < x.cols; ++d) largest = std::max(largest, std::fabs(x.row(i)[d]));
      const float down = largest > 0x1p126f ? 0.25f : 1.0f;
      const float scale = largest >= std::numeric_limits<float>::min() ? 1.0f / (largest * down) : 1.0f;
      float* u = unit + i * x.cols;
      for (int64_t d = 0; d < x.cols; ++d) u[d] = x.row(i)[d] * down * scale;
      const float length = std::sqrt(simd::Rows().dot(u, u, x.cols));
      for (int64_t d = 0; d < x.cols; ++d) u[d] = length == 0.0f ? u[d] : u[d] / length;
      if (norms) norms[i] = length / scale / down;
    }
  });
}

void ProjectRows(const Executor& executor, Matrix<const float> unit, const float* norms, float* gradient) {
  ParallelFor(executor, unit.rows, RowsWorthAThread(unit.cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* u = unit.row(i);
      float* g = gradient + i * unit.cols;
      const float along = simd::Rows().dot(u, g, unit.cols);
      for (int64_t d = 0; d < unit.cols; ++d)
        g[d] = norms[i] == 0.0f ? 0.0f : (g[d] - u[d] * along) / norms[i];
    }
  });
}

PairwiseParts::PairwiseParts(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
                             Matrix<const float> y)
    : kernel_(kernel),
      x_(x),
      y_(y),
      y_is_x_(Same(x, y)),
      max_by_fma_(kernel.metric == Metric::kManhattan && simd::MaxByFma()),
      unit_x_(kernel.metric == Metric::kCosine ? x.rows * x.cols : 0),
      unit_y_(kernel.metric == Metric::kCosine && !y_is_x_ ? y.rows * y.cols : 0),
      x_scales_(UsesScales(kernel.metric) && !y_is_x_ ? 2 * x.rows : 0),
      y_scales_(UsesScales(kernel.metric) ? 2 * RoundUp(y.rows, simd::Rows().panel) : 0),
      panels_(RoundUp(y.rows, simd::Rows().panel) * y.cols) {
  const int64_t panel = simd::Rows().panel;
  if (kernel.metric == Metric::kCosine) {
    NormaliseRows(executor, x, unit_x_.get(), nullptr);
    if (!y_is_x_) NormaliseRows(executor, y, unit_y_.get(), nullptr);
    x_.data = unit_x_.get();
    y_.data = y_is_x_ ? unit_x_.get() : unit_y_.get();
  }
  const int64_t padded = RoundUp(y.rows, panel);
  if (UsesScales(kernel.metric)) {
    RowScales(executor, kernel.metric, y_, padded, y_scales_.get() + padded, y_scales_.get());
    if (!y_is_x_) RowScales(executor, kernel.metric, x_, x.rows, x_scales_.get() + x.rows, x_scales_.get());
  }
  ParallelFor(executor, padded / panel, RowsWorthAThread(panel * y.cols), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      simd::Rows().pack_rows(y_.data, y.rows, y.cols, p * panel, panels_.get() + p * panel * y.cols);
  });
}

PairwiseParts::Rows PairwiseParts::PackRows(int64_t begin, int64_t end) const {
  Rows rows = {begin, end, Scratch<float>((end - begin) * x_.cols),
               Scratch<float>((end - begin) * simd::Rows().panel)};
  simd::Pairwise().pack_tiles(x_.row(begin), end - begin, x_.cols, max_by_fma_, rows.tiles.get());
  return rows;
}

simd::PairwiseBlock PairwiseParts::Block(const Rows& rows, int64_t first, int64_t last) const {
  simd::PairwiseBlock block = {};
  block.metric = kernel_.metric;
  block.activation = kernel_.activation;
  block.rows = rows.end - rows.begin;
  block.cols = last - first;
  block.dim = x_.cols;
  block.x = x_.row(rows.begin);
  block.y = y_.row(first);
  block.tiles = rows.tiles.get();
  block.panels = panels_.get() + first * y_.cols;
  if (UsesScales(kernel_.metric)) {
    const float* y_sums = y_scales_.get() + RoundUp(y_.rows, simd::Rows().panel);
    block.x_scales = (y_is_x_ ? y_scales_ : x_scales_).get() + rows.begin;
    block.x_sums = (y_is_x_ ? y_sums : x_scales_.get() + x_.rows) + rows.begin;
    block.y_scales = y_scales_.get() + first;
    block.y_sums = y_sums + first;
  }
  block.weights = kernel_.weights.data;
  block.bias = kernel_.bias;
  block.max_by_fma = max_by_fma_;
  block.sums = rows.sums.get();
  return block;
}

void PairwiseParts::Compute(const Rows& rows, int64_t first, int64_t last, float* out, int64_t stride,
                            bool stream) const {
  simd::PairwiseBlock block = Block(rows, first, last);
  block.out = out;
  block.out_stride = stride;
  block.stream = stream;
  simd::Pairwise().block(block);
}

namespace {

// Threads take different rows of y. What is prepared of x is prepared for each block, which has many more
// rows.
void PairwiseOfFew(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
                   Matrix<const float> y, int64_t block, float* out) {
  ParallelFor(executor, y.rows, block, [&](int64_t begin, int64_t end) {
    const PairwiseParts parts({}, kernel, x, {y.row(begin), end - begin, y.cols});
    parts.Compute(parts.PackRows(0, x.rows), 0, end - begin, out + begin, y.rows);
  });
}

}  // namespace

void Pairwise(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
              Matrix<const float> y, float* out) {
  // Blocks of rows of y give more threads work than blocks of rows of x would, or as many.
  const int64_t wide = RoundUp(std::max(4 * x.rows, kWideBlock / (x.cols + 1)), simd::Rows().panel);
  if (!Same(x, y) && x.rows <= kTallestBlock &&
      DivideUp(y.rows, wide) >= std::min<int64_t>(8, DivideUp(x.rows, simd::Rows().tile_rows)))
    return PairwiseOfFew(executor, kernel, x, y, wide, out);
  const PairwiseParts parts(executor, kernel, x, y);
  const int64_t cols = y.rows, work_of_row = cols * x.cols;
  if (Same(x, y)) {
    // Each block of rows from its own diagonal on; what is to the right of that is mirrored.
    ParallelFor(executor, cols, BlockRows(cols, x.cols, kSymmetricBlock, simd::Rows().panel, work_of_row),
                [&](int64_t begin, int64_t end) {
                  const PairwiseParts::Rows rows = parts.PackRows(begin, end);
                  for (int64_t first = begin, last; first < cols; first = last) {
                    last = std::min(first == begin ? end : first + kMirroredColumns, cols);
                    parts.Compute(rows, first, last, out + begin * cols + first, cols);
                    if (first > begin)
                      simd::Rows().transpose(out + begin * cols + first, cols, end - begin, last - first,
                                             out + first * cols + begin, cols);
                  }
                });
    return;
  }
  const int64_t alignment = simd::Rows().lanes * static_cast<int64_t>(sizeof(float));
  const bool stream = x.rows * cols * static_cast<int64_t>(sizeof(float)) >= kStreamedOutput &&
                      cols % simd::Rows().lanes == 0 && reinterpret_cast<uintptr_t>(out) % alignment == 0;
  ParallelFor(executor, x.rows, BlockRows(x.rows, x.cols, kTallestBlock, simd::Rows().tile_rows, work_of_row),
              [&](int64_t begin, int64_t end) {
                parts.Compute(parts.PackRows(begin, end), 0, cols, out + begin * cols, cols, stream);
              });
}

}  // namespace fslcore
