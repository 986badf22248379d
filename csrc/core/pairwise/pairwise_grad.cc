// SPDX-License-Identifier: MIT
// The gradient of a pairwise matrix. With a(r, c) = d loss / d (the sum inside the metric) for the pair
// (x[r], y[c]):
//
//                     dx[r] = sum over c of a(r, c) ...        dy[c] = sum over r of a(r, c) ...
//   dot, cosine                 y[c]                                     x[r]
//   (sq)euclidean               (x[r] - y[c])                            (y[c] - x[r])
//   others                      difference_grad.h
//
// The incoming gradient is read block by block; a block of coefficients serves both sides while it is in the
// cache. Threads take different columns of dx and dy or, where those are few, different rows of x, each with
// a dy of its own: these are added up in one order. At most kMostChunks copies of dy are held.
#include <algorithm>

#include "core/pairwise/difference_grad.h"
#include "core/pairwise/pairwise.h"
#include "core/simd/pairwise_kernels.h"
#include "core/simd/row_kernels.h"

namespace fslcore {
namespace {

constexpr int64_t kBlock = 128;  // rows and columns of a block of coefficients, 64 KB
// A power of two between rows of coefficients would put a column of them into two sets of the cache.
constexpr int64_t kBlockStride = kBlock + 16;
constexpr int64_t kMostChunks = 4;
constexpr int64_t kSerialWork = 1 << 22;  // pairs of numbers below which threads cost more than they save

// How the work is shared out: chunks of rows of x times groups of panels. A function of the shape alone.
struct Shares {
  int64_t panels, panels_of_group, groups, rows_of_chunk, chunks;

  Shares(int64_t rows, int64_t dim) {
    panels = DivideUp(dim, simd::Rows().panel);
    // 64 columns, or a quarter of them: the dy of a few thousand rows then stays in the L2 cache.
    panels_of_group = std::max(DivideUp(64, simd::Rows().panel), DivideUp(panels, 4));
    groups = std::max<int64_t>(
        1, DivideUp(panels, panels_of_group));  // the coefficients are summed even if dim = 0
    const int64_t wanted = std::min(kMostChunks, DivideUp(8, groups));
    rows_of_chunk = std::max(kBlock, RoundUp(DivideUp(rows, wanted), kBlock));
    chunks = DivideUp(rows, rows_of_chunk);
  }
};

// The rows of x or of y, and the gradient with respect to them.
struct Side {
  Matrix<const float> rows;
  int64_t copies;           // of the gradient, one for each chunk that adds to it
  Scratch<float> panels;    // [panels, rows, panel], packed by pack_columns
  Scratch<float> gradient;  // [copies, panels, rows, panel]
  Scratch<float> sums;  // of the coefficients, [copies, rows]; aligned, for rows are added to it as vectors

  Side(const Executor& executor, Matrix<const float> r, int64_t n_panels, int64_t n_copies)
      : rows(r),
        copies(n_copies),
        panels(n_panels * simd::Rows().panel * r.rows),
        gradient(n_copies * n_panels * simd::Rows().panel * r.rows),
        sums(n_copies * r.rows) {
    std::fill(sums.get(), sums.get() + n_copies * r.rows, 0.0f);
    ParallelFor(executor, n_panels, RowsWorthAThread(simd::Rows().panel * r.rows),
                [&](int64_t begin, int64_t end) {
                  for (int64_t p = begin; p < end; ++p)
                    simd::Rows().pack_columns(r.data, r.rows, r.cols, p * simd::Rows().panel,
                                              panels.get() + At(p, 0));
                });
  }

  int64_t At(int64_t panel, int64_t row) const { return (panel * rows.rows + row) * simd::Rows().panel; }
};

bool IsOfDifferences(Metric metric) { return metric == Metric::kSqeuclidean || metric == Metric::kEuclidean; }

// Adds the copies up, and applies the factors that the blocks leave out.
void Finish(const Executor& executor, const PairwiseKernel& kernel, const Side& side, int64_t panels,
            float* out) {
  const int64_t panel = simd::Rows().panel;
  const auto axpy = simd::Rows().axpy;
  const int64_t dim = side.rows.cols;
  const bool of_differences = IsOfDifferences(kernel.metric);
  ParallelFor(executor, side.rows.rows, RowsWorthAThread(side.copies * dim), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* to = out + row * dim;
      std::fill(to, to + dim, 0.0f);
      for (int64_t copy = 0; copy < side.copies; ++copy)
        for (int64_t p = 0; p < panels; ++p)
          axpy(of_differences ? -1.0f : 1.0f, side.gradient.get() + side.At(copy * panels + p, row),
               to + p * panel, std::min(panel, dim - p * panel));
      if (of_differences) {  // sum of a (x - y) = x * sum of a - sum of a y
        float sum = 0.0f;
        for (int64_t copy = 0; copy < side.copies; ++copy) sum += side.sums[copy * side.rows.rows + row];
        axpy(sum, side.rows.row(row), to, dim);
      }
    }
  });
}

void Gradient(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
              Matrix<const float> y, const float* grad, const float* out,
              const PairwiseGradients& gradients) {
  const auto axpy = simd::Rows().axpy;
  const Shares shares(x.rows, x.cols);
  Side sx(executor, x, shares.panels, y.rows > 0 ? 1 : 0), sy(executor, y, shares.panels, shares.chunks);

  ParallelFor(executor, shares.chunks * shares.groups, 1, [&](int64_t task, int64_t) {
    const int64_t chunk = task / shares.groups, group = task % shares.groups;
    const int64_t begin = chunk * shares.rows_of_chunk, end = std::min(begin + shares.rows_of_chunk, x.rows);
    const int64_t first_panel = group * shares.panels_of_group;
    const int64_t last_panel = std::min(first_panel + shares.panels_of_group, shares.panels);
    const Scratch<float> block(kBlock * kBlockStride);
    for (int64_t row = begin; row < end; row += kBlock)
      for (int64_t col = 0; col < y.rows; col += kBlock) {
        const int64_t rows = std::min(kBlock, end - row), cols = std::min(kBlock, y.rows - col);
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t at = (row + r) * y.rows + col;
          float* values = block.get() + r * kBlockStride;
          const float sum = simd::Pairwise().coefficients(kernel.metric, grad + at, out + at, cols, values);
          if (group > 0) continue;
          sx.sums[row + r] += sum;
          if (IsOfDifferences(kernel.metric)) axpy(1.0f, values, sy.sums.get() + chunk * y.rows + col, cols);
        }
        for (int64_t p = first_panel; p < last_panel; ++p)
          simd::Pairwise().product_grad({rows, cols, block.get(), kBlockStride,
                                         sx.panels.get() + sx.At(p, row), sy.panels.get() + sy.At(p, col),
                                         col == 0, row == begin, sx.gradient.get() + sx.At(p, row),
                                         sy.gradient.get() + sy.At(chunk * shares.panels + p, col)});
      }
  });

  Finish(executor, kernel, sx, shares.panels, gradients.dx);
  Finish(executor, kernel, sy, shares.panels, gradients.dy);
  if (gradients.dbias) {
    double total = 0.0;
    for (int64_t row = 0; row < sx.copies * x.rows; ++row) total += sx.sums[row];
    *gradients.dbias = static_cast<float>(total);
  }
}

}  // namespace

void PairwiseGrad(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
                  Matrix<const float> y, const float* grad, const float* out,
                  const PairwiseGradients& gradients) {
  const Executor used = x.rows * y.rows * x.cols < kSerialWork ? Executor{} : executor;
  if (!IsProductMetric(kernel.metric)) return DifferenceGrad(used, kernel, x, y, grad, out, gradients);
  if (kernel.metric != Metric::kCosine) return Gradient(used, kernel, x, y, grad, out, gradients);
  Scratch<float> unit_x(x.rows * x.cols), unit_y(y.rows * y.cols), x_norms(x.rows), y_norms(y.rows);
  NormaliseRows(used, x, unit_x.get(), x_norms.get());
  NormaliseRows(used, y, unit_y.get(), y_norms.get());
  x.data = unit_x.get();
  y.data = unit_y.get();
  Gradient(used, kernel, x, y, grad, out, gradients);
  ProjectRows(used, x, x_norms.get(), gradients.dx);
  ProjectRows(used, y, y_norms.get(), gradients.dy);
}

}  // namespace fslcore
