// SPDX-License-Identifier: MIT
// The gradient of a batch with itself: a coefficient is that of a pair and of its mirror image together, so
// the pairs behind each block of rows give the gradients of the block and of the columns. With one unit for
// the products of half of the pairs, the metrics take one and the gradients two.
//
// A task has every so many-th block of rows and every so many-th stretch of columns. Tasks with the same
// blocks add to one copy of the gradient of the columns, each to its own stretches; tasks with the same
// stretches write one copy of the gradient of the rows, each its own blocks. The copies are added up in one
// order.
#include "core/reductions/pair_coefficients.h"

namespace fslcore::reductions {
namespace {

// How the work is shared out, a function of the shape alone: the copies take at most 100 MB.
struct Shares {
  int64_t of_rows, of_cols;

  Shares(int64_t rows, int64_t padded_dim, int64_t blocks) {
    constexpr int64_t kMostFloats = 26 << 20;
    const int64_t copies = std::clamp<int64_t>(kMostFloats / std::max<int64_t>(1, rows * padded_dim), 3, 8);
    of_rows = std::max<int64_t>(1, std::min((copies + 1) / 2 + (copies == 6 ? 1 : 0), blocks));
    of_cols = std::max<int64_t>(1, std::min(copies - of_rows, DivideUp(rows, simd::kMostStretch)));
  }
};

// [panels, rows, panel] numbers for each copy.
struct Copies {
  int64_t size;
  Scratch<float> data;
  Scratch<float> totals;  // [copies, rows + stretch] of the coefficients

  Copies(int64_t copies, int64_t rows, int64_t padded_dim)
      : size(rows * padded_dim), data(copies * size), totals(copies * (rows + simd::kMostStretch)) {}
};

// All that the tasks have written.
struct Parts {
  const Copies &of_rows, &of_cols;
  const Shares& shares;
  const std::vector<KeptOfRow>& kept;  // [shares.of_cols, rows]
  bool of_differences;
};

// Rows whose panels are added up at a time, in the L1 cache.
constexpr int64_t kAddedRows = 64;

void AddUp(const Executor& executor, const Parts& parts, const PairProblem& problem,
           Matrix<const float> factors, const PairGradients& gradients) {
  const int64_t rows = factors.rows, dim = factors.cols, panel = simd::Rows().panel;
  const int64_t panels = DivideUp(dim, panel);
  ParallelFor(executor, rows, kAddedRows, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const Scratch<float> sums(kAddedRows * panel);
    for (int64_t p = 0; p < panels; ++p) {
      std::fill_n(sums.get(), count * panel, 0.0f);
      for (const auto& [copies, number] :
           {std::pair{&parts.of_rows, parts.shares.of_cols}, std::pair{&parts.of_cols, parts.shares.of_rows}})
        for (int64_t i = 0; i < number; ++i)
          simd::Rows().axpy(1.0f, copies->data.get() + i * copies->size + (p * rows + begin) * panel,
                            sums.get(), count * panel);
      for (int64_t r = 0; r < count; ++r)
        std::copy_n(sums.get() + r * panel, std::min(panel, dim - p * panel),
                    gradients.dx + (begin + r) * dim + p * panel);
    }
    for (int64_t row = begin; row < end; ++row) {
      KeptOfRow whole;
      for (int64_t i = 0; i < parts.shares.of_cols; ++i) {
        const KeptOfRow& part = parts.kept[static_cast<size_t>(i * rows + row)];
        whole.total += part.total;
        for (int t = 0; t < kPairTerms; ++t)
          for (int kind = 0; kind < 3; ++kind) whole.sums[t][kind] += part.sums[t][kind];
      }
      if (parts.of_differences) {  // sum of a (x - y) = x * sum of a - sum of a y
        for (int64_t i = 0; i < parts.shares.of_rows; ++i)
          whole.total += parts.of_cols.totals[i * (rows + simd::kMostStretch) + row];
        const auto total = static_cast<float>(whole.total);
        float* to = gradients.dx + row * dim;
        for (int64_t d = 0; d < dim; ++d) to[d] = total * factors.row(row)[d] - to[d];
      }
      WriteSums(problem, whole, row, rows, gradients.sums, gradients.dlevels);
    }
  });
}

}  // namespace

void HalfGradient(const Executor& executor, const PairProblem& problem, const TermsOfRows& terms,
                  const PairClasses& classes, Matrix<const float> factors, const PairGradients& gradients) {
  const int64_t rows = problem.x.rows, panel = simd::Rows().panel;
  const PairwiseParts parts(executor, KernelOf(problem), problem.x, problem.x);
  const ColumnPanels packed(executor, factors);
  const int64_t panels = packed.panels(), padded_dim = panels * panel;
  const int64_t height = BlockRows(rows, panel), blocks = DivideUp(rows, height);
  const Shares shares(rows, padded_dim, blocks);
  const Copies of_rows(shares.of_cols, rows, padded_dim), of_cols(shares.of_rows, rows, padded_dim);
  const int64_t totals_stride = rows + simd::kMostStretch;
  const bool of_products = IsProductMetric(problem.metric), of_differences = IsOfDifferences(problem.metric);
  const auto multiply = of_products ? simd::Reductions().product : simd::Reductions().signs;
  const auto mirror = of_products ? simd::Reductions().mirrored_product : simd::Reductions().mirrored_signs;
  std::vector<KeptOfRow> kept(static_cast<size_t>(shares.of_cols * rows));

  ParallelFor(executor, shares.of_rows * shares.of_cols, 1, [&](int64_t task, int64_t) {
    const int64_t row_share = task / shares.of_cols, col_share = task % shares.of_cols;
    float* to_cols = of_cols.data.get() + row_share * of_cols.size;
    float* to_rows = of_rows.data.get() + col_share * of_rows.size;
    float* col_totals = of_cols.totals.get() + row_share * totals_stride;
    for (int64_t first = col_share * simd::kMostStretch; first < rows;
         first += shares.of_cols * simd::kMostStretch) {
      const int64_t last = std::min(first + simd::kMostStretch, rows);
      for (int64_t p = 0; p < panels; ++p)
        std::fill_n(to_cols + (p * rows + first) * panel, (last - first) * panel, 0.0f);
      // The padding behind the last row belongs to the last stretch.
      std::fill_n(col_totals + first, simd::kMostStretch, 0.0f);
    }
    std::vector<uint8_t> is_zero(static_cast<size_t>(height));
    std::vector<int32_t> listed(static_cast<size_t>(height));
    for (int64_t index = row_share; index < blocks; index += shares.of_rows) {
      const int64_t begin = index * height, end = std::min(begin + height, rows);
      const BlockOfRows block(problem, parts, begin, end, classes.of_x(), classes.of_x());
      const auto kept_of = [&](int64_t row) { return &kept[static_cast<size_t>(col_share * rows + row)]; };
      for (int64_t p = 0; p < panels; ++p)
        std::fill_n(to_rows + (p * rows + begin) * panel, (end - begin) * panel, 0.0f);
      const auto add = [&](int64_t first, int64_t cols, int64_t padded, float* metrics, float* col_classes) {
        const bool is_mirrored = first >= end;
        int64_t count = 0;
        for (int64_t row = begin; row < end; ++row) {
          const WithoutSelf without(true, row, first, cols, col_classes);
          const bool any =
              MakeCoefficients(problem, terms, {true, true, is_mirrored}, row, first, padded,
                               classes.of_x()[row], col_classes, metrics + (row - begin) * simd::kMostStretch,
                               is_mirrored && of_differences ? col_totals + first : nullptr, kept_of(row));
          is_zero[static_cast<size_t>(row - begin)] = !any;
          if (any) listed[static_cast<size_t>(count++)] = static_cast<int32_t>(row - begin);
        }
        if (count == 0) return;
        for (int64_t p = 0; p < panels; ++p) {
          simd::ReducedProduct product = {};
          product.rows = end - begin, product.cols = cols;
          product.a = metrics, product.a_stride = simd::kMostStretch;
          product.x_panel = packed.at(p, begin), product.y_panel = packed.at(p, first);
          product.is_zero = is_zero.data();
          product.dx = to_rows + (p * rows + begin) * panel;
          product.listed = listed.data(), product.listed_rows = count;
          product.dy = to_cols + (p * rows + first) * panel;
          multiply(product);
          if (is_mirrored) mirror(product);
        }
      };
      // The block with itself goes to one of the tasks that have its rows.
      if (index / shares.of_rows % shares.of_cols == col_share) block.Meet(begin, end, add);
      for (int64_t stretch = col_share; stretch * simd::kMostStretch < rows; stretch += shares.of_cols) {
        const int64_t first = std::max(end, stretch * simd::kMostStretch);
        const int64_t last = std::min((stretch + 1) * simd::kMostStretch, rows);
        if (first < last) block.Meet(first, last, add);
      }
    }
  });

  AddUp(executor, {of_rows, of_cols, shares, kept, of_differences}, problem, factors, gradients);
}

}  // namespace fslcore::reductions
