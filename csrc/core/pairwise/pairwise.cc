// SPDX-License-Identifier: MIT
#include "core/pairwise/pairwise.h"

#include <algorithm>
#include <utility>

#include "core/arrays/pages.h"
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
// Columns that are computed before they are streamed, where rows of the output are not aligned: 192 KB.
constexpr int64_t kStagedColumns = 256;

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

// The sums and scales of rows `begin` to `end`, which finish the sums of pairs (PairwiseBlock).
void RowScales(Metric metric, Matrix<const float> x, int64_t begin, int64_t end, float* sums, float* scales) {
  for (int64_t i = begin; i < end; ++i)
    if (metric == Metric::kManhattan)
      simd::Pairwise().sums(x.row(i), x.cols, sums + i, scales + i);
    else
      scales[i] = simd::Rows().dot(x.row(i), x.row(i), x.cols);
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
      const float length = simd::Rows().normalise(x.row(i), x.cols, unit + i * x.cols);
      if (norms) norms[i] = length;
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
  const int64_t panel = simd::Rows().panel, padded = RoundUp(y.rows, panel);
  const bool unit = kernel.metric == Metric::kCosine, scaled = UsesScales(kernel.metric);
  if (unit) {
    x_.data = unit_x_.get();
    y_.data = y_is_x_ ? unit_x_.get() : unit_y_.get();
  }
  if (scaled)  // beyond the last row
    for (float* beyond : {y_scales_.get() + y.rows, y_scales_.get() + padded + y.rows})
      std::fill(beyond, beyond + padded - y.rows, 0.0f);
  // All that a row needs while it is in the cache.
  const auto prepare = [&](Matrix<const float> given, Matrix<const float> used, int64_t begin, int64_t end,
                           float* to, float* sums, float* scales) {
    for (int64_t i = begin; unit && i < end; ++i)
      simd::Rows().normalise(given.row(i), given.cols, to + i * given.cols);
    if (scaled) RowScales(kernel.metric, used, begin, end, sums, scales);
  };
  const int64_t y_blocks = padded / panel;
  const int64_t x_blocks = y_is_x_ || !(unit || scaled) ? 0 : DivideUp(x.rows, panel);
  ParallelFor(executor, y_blocks + x_blocks, RowsWorthAThread(panel * y.cols), [&](int64_t from, int64_t to) {
    for (int64_t block = from; block < to; ++block) {
      const int64_t begin = (block < y_blocks ? block : block - y_blocks) * panel;
      if (block < y_blocks) {
        prepare(y, y_, begin, std::min(begin + panel, y.rows), (y_is_x_ ? unit_x_ : unit_y_).get(),
                y_scales_.get() + padded, y_scales_.get());
        simd::Rows().pack_rows(y_.data, y.rows, y.cols, begin, panels_.get() + begin * y.cols);
      } else {
        prepare(x, x_, begin, std::min(begin + panel, x.rows), unit_x_.get(), x_scales_.get() + x.rows,
                x_scales_.get());
      }
    }
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
  const int64_t cols = y.rows, work_of_row = cols * x.cols, bytes = x.rows * cols * int64_t{sizeof(float)};
  AdviseHugePages(out, bytes);
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
  const int64_t alignment = simd::Rows().lanes * int64_t{sizeof(float)};
  const bool past_caches = bytes >= kStreamedOutput;
  const bool aligned = cols % simd::Rows().lanes == 0 && reinterpret_cast<uintptr_t>(out) % alignment == 0;
  ParallelFor(executor, x.rows, BlockRows(x.rows, x.cols, kTallestBlock, simd::Rows().tile_rows, work_of_row),
              [&](int64_t begin, int64_t end) {
                const PairwiseParts::Rows rows = parts.PackRows(begin, end);
                float* to = out + begin * cols;
                if (!past_caches || aligned) return parts.Compute(rows, 0, cols, to, cols, past_caches);
                // Vectors must not be streamed to where they cross lines: columns are staged in the cache.
                const Scratch<float> staged((end - begin) * kStagedColumns);
                for (int64_t first = 0; first < cols; first += kStagedColumns) {
                  const int64_t last = std::min(first + kStagedColumns, cols);
                  parts.Compute(rows, first, last, staged.get(), kStagedColumns);
                  for (int64_t r = 0; r < end - begin; ++r)
                    simd::Rows().stream(staged.get() + r * kStagedColumns, last - first,
                                        to + r * cols + first);
                }
                simd::Rows().end_stream();
              });
}

}  // namespace fslcore
