// SPDX-License-Identifier: MIT
// The incoming gradient is read block by block; a block of coefficients serves dx, dy and dweights while it
// is in the cache. Threads take different columns or, where those are few, different rows of x, each with a
// dy of its own: these are added up in one order. At most kMostChunks copies of dy are held.
#include "core/pairwise/difference_grad.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/simd/manhattan_kernels.h"
#include "core/simd/row_kernels.h"

namespace fslcore {
namespace {

constexpr int64_t kBlock = 128;  // rows and columns of a block of coefficients, 64 KB
// A power of two between rows of coefficients would put a column of them into two sets of the cache.
constexpr int64_t kBlockStride = kBlock + 16;
constexpr int64_t kMostChunks = 4;

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
  Scratch<float> panels;    // [panels, rows, panel], packed by pack_signs
  Scratch<float> gradient;  // [copies, panels, rows, panel], sign_unit times too large
  std::vector<char> fit;    // [panels] for fast_sign_grad

  Side(const Executor& executor, Matrix<const float> r, int64_t n_panels, int64_t n_copies)
      : rows(r),
        copies(n_copies),
        panels(n_panels * simd::Rows().panel * r.rows),
        gradient(n_copies * n_panels * simd::Rows().panel * r.rows),
        fit(static_cast<size_t>(n_panels)) {
    ParallelFor(executor, n_panels, RowsWorthAThread(simd::Rows().panel * r.rows),
                [&](int64_t begin, int64_t end) {
                  for (int64_t p = begin; p < end; ++p)
                    fit[static_cast<size_t>(p)] = simd::Manhattan().pack_signs(
                        r.data, r.rows, r.cols, p * simd::Rows().panel, panels.get() + At(p, 0));
                });
  }

  int64_t At(int64_t panel, int64_t row) const { return (panel * rows.rows + row) * simd::Rows().panel; }
};

// Adds the copies up, and applies the factors that the blocks leave out.
void Finish(const Executor& executor, const PairwiseKernel& kernel, const Side& side, float* out) {
  const int64_t dim = side.rows.cols;
  const float* weights = kernel.metric == Metric::kWeightedManhattan ? kernel.weights.data : nullptr;
  ParallelFor(executor, side.rows.rows, RowsWorthAThread(side.copies * dim), [&](int64_t begin, int64_t end) {
    simd::Manhattan().finish_signs({end - begin, dim, side.copies, side.gradient.get() + side.At(0, begin),
                                    side.At(1, 0), weights, out + begin * dim});
  });
}

void SignGradient(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
                  Matrix<const float> y, const float* grad, const float* out,
                  const PairwiseGradients& gradients) {
  const int64_t panel = simd::Rows().panel;
  const simd::ManhattanKernels& kernels = simd::Manhattan();
  const Shares shares(x.rows, x.cols);
  const Side sx(executor, x, shares.panels, y.rows > 0 ? 1 : 0),
      sy(executor, y, shares.panels, shares.chunks);
  const int64_t padded = shares.panels * panel;
  std::vector<float> abs_differences(static_cast<size_t>(gradients.dweights ? shares.chunks * padded : 0));
  std::vector<float> sums(static_cast<size_t>(x.rows));  // of the coefficients of a row

  ParallelFor(executor, shares.chunks * shares.groups, 1, [&](int64_t task, int64_t) {
    const int64_t chunk = task / shares.groups, group = task % shares.groups;
    const int64_t begin = chunk * shares.rows_of_chunk, end = std::min(begin + shares.rows_of_chunk, x.rows);
    const int64_t first_panel = group * shares.panels_of_group;
    const int64_t last_panel = std::min(first_panel + shares.panels_of_group, shares.panels);
    const Scratch<float> block(kBlock * kBlockStride);
    for (int64_t row = begin; row < end; row += kBlock)
      for (int64_t col = 0; col < y.rows; col += kBlock) {
        const int64_t rows = std::min(kBlock, end - row), cols = std::min(kBlock, y.rows - col);
        bool finite = true;
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t at = (row + r) * y.rows + col;
          const float sum =
              kernels.slopes(kernel.activation, grad + at, out + at, cols, block.get() + r * kBlockStride);
          finite &= sum - sum == 0.0f;
          if (group == 0) sums[static_cast<size_t>(row + r)] += sum;
        }
        const auto dy_of = [&](int64_t p, int64_t c) {
          return sy.gradient.get() + sy.At(chunk * shares.panels + p, c);
        };
        for (int64_t p = first_panel; p < last_panel; ++p) {
          const bool fast = finite && sx.fit[static_cast<size_t>(p)] && sy.fit[static_cast<size_t>(p)];
          const bool last = p + 1 == last_panel, ends = last && col + cols == y.rows;
          const int64_t next_panel = last ? first_panel : p + 1, next_col = ends   ? 0
                                                                            : last ? col + cols
                                                                                   : col;
          (fast ? kernels.fast_sign_grad : kernels.sign_grad)(
              {rows, cols, block.get(), kBlockStride, sx.panels.get() + sx.At(p, row),
               sy.panels.get() + sy.At(p, col), col == 0, row == begin, sx.gradient.get() + sx.At(p, row),
               dy_of(p, col),
               gradients.dweights ? abs_differences.data() + chunk * padded + p * panel : nullptr,
               sy.panels.get() + sy.At(next_panel, next_col), dy_of(next_panel, next_col)});
        }
      }
  });

  Finish(executor, kernel, sx, gradients.dx);
  Finish(executor, kernel, sy, gradients.dy);
  if (gradients.dweights) {
    FlushDenormals flush;
    std::fill(gradients.dweights, gradients.dweights + x.cols, 0.0f);
    for (int64_t chunk = 0; chunk < shares.chunks; ++chunk)
      simd::Rows().axpy(1.0f, abs_differences.data() + chunk * padded, gradients.dweights, x.cols);
  }
  if (gradients.dbias) *gradients.dbias = static_cast<float>(std::accumulate(sums.begin(), sums.end(), 0.0));
}

// For metrics that depend on one coordinate of each pair.
void LargestGradient(const Executor& executor, Matrix<const float> x, Matrix<const float> y,
                     const float* grad, const float* out, const PairwiseGradients& gradients) {
  const int64_t dim = x.cols;
  const int64_t rows_of_chunk = std::max(kBlock, RoundUp(DivideUp(x.rows, kMostChunks), kBlock));
  const int64_t chunks = DivideUp(x.rows, rows_of_chunk);
  const Scratch<float> copies(chunks * y.rows * dim);  // of dy
  double sums[kMostChunks] = {};                       // of grad
  std::fill(gradients.dx, gradients.dx + x.rows * dim, 0.0f);
  std::fill(gradients.dy, gradients.dy + y.rows * dim, 0.0f);
  ParallelFor(executor, chunks, 1, [&](int64_t chunk, int64_t) {
    const int64_t begin = chunk * rows_of_chunk, end = std::min(begin + rows_of_chunk, x.rows);
    float* dy = copies.get() + chunk * y.rows * dim;
    std::fill(dy, dy + y.rows * dim, 0.0f);
    for (int64_t row = begin; row < end; row += kBlock)
      for (int64_t col = 0; col < y.rows; col += kBlock) {
        const int64_t at = row * y.rows + col;
        simd::Manhattan().largest_grad({std::min(kBlock, end - row), std::min(kBlock, y.rows - col), dim,
                                        x.row(row), y.row(col), grad + at, out + at, y.rows,
                                        gradients.dx + row * dim, dy + col * dim});
      }
    sums[chunk] = std::accumulate(grad + begin * y.rows, grad + end * y.rows, 0.0);
  });
  ParallelFor(executor, y.rows, RowsWorthAThread(chunks * dim), [&](int64_t begin, int64_t end) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      simd::Rows().axpy(1.0f, copies.get() + (chunk * y.rows + begin) * dim, gradients.dy + begin * dim,
                        (end - begin) * dim);
  });
  if (gradients.dbias) *gradients.dbias = static_cast<float>(std::accumulate(sums, sums + kMostChunks, 0.0));
}

}  // namespace

void DifferenceGrad(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
                    Matrix<const float> y, const float* grad, const float* out,
                    const PairwiseGradients& gradients) {
  if (PairOf(kernel.metric) == Pair::kLargestAbsolute)
    LargestGradient(executor, x, y, grad, out, gradients);
  else
    SignGradient(executor, kernel, x, y, grad, out, gradients);
}

}  // namespace fslcore
