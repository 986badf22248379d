// SPDX-License-Identifier: MIT
// The products of a gradient through pairs. Blocks of rows make their metrics, turn them into coefficients,
// and multiply these with the rows of both sides while they are in the cache: with one unit for all products
// of the pairs, one for the metrics and two for the gradients. Where y is x, a coefficient is that of a pair
// and of its mirror image together, and half of the pairs will do.
#pragma once
#include "core/arrays/pages.h"
#include "core/reductions/pair_rounds.h"
#include "core/reductions/pair_stretches.h"

namespace fslcore::reductions {

// Rows of a panel of columns, and some more: where a panel follows another at a power of two, their rows that
// are used together would share a few sets of the L2 cache.
inline int64_t RowsOfPanel(int64_t rows) { return rows < 1024 ? rows : RoundUp(rows, 1024) + 256; }

// The rows of one side packed by columns, [panels, RowsOfPanel(rows), panel].
class ColumnPanels {
 public:
  ColumnPanels(const Executor& executor, Matrix<const float> rows)
      : rows_(RowsOfPanel(rows.rows)),
        panels_(DivideUp(rows.cols, simd::Rows().panel)),
        packed_(panels_ * simd::Rows().panel * rows_) {
    AdviseHugePages(packed_.get(), panels_ * simd::Rows().panel * rows_ * int64_t{sizeof(float)});
    ParallelFor(executor, panels_, RowsWorthAThread(simd::Rows().panel * rows.rows),
                [&](int64_t begin, int64_t end) {
                  for (int64_t p = begin; p < end; ++p)
                    simd::Rows().pack_columns(rows.data, rows.rows, rows.cols, p * simd::Rows().panel,
                                              packed_.get() + p * simd::Rows().panel * rows_);
                });
  }
  int64_t panels() const { return panels_; }
  const float* at(int64_t panel, int64_t row) const {
    return packed_.get() + (panel * rows_ + row) * simd::Rows().panel;
  }

 private:
  int64_t rows_, panels_;
  Scratch<float> packed_;
};

// What is kept of a row: of each term the sums of d / d t, of metric * d / d t, and of values; of each level
// its slope; of the coefficients their sum.
struct KeptOfRow {
  double sums[kPairTerms][3] = {};
  double levels[kMostPairLevels] = {};
  double total = 0.0;
};

// What the columns of a stretch get from the rows of a block; null where nothing is wanted.
struct KeptOfCols {
  float* totals;
  float* level_sums;  // [levels, level_stride]
  int64_t level_stride;
};

inline bool IsOfDifferences(Metric metric) {
  return metric == Metric::kSqeuclidean || metric == Metric::kEuclidean;
}

// The pairs of a row with a stretch of columns, whose metrics become coefficients where they stand.
struct PairsOfRow {
  bool is_mirrored;  // whether the columns meet the row here alone
  int64_t row, first;
  simd::PairStretch pairs;
  float* metrics;
  KeptOfCols cols;
  KeptOfRow* kept;
};

inline void FillCoefficients(Metric metric, const PairsOfRow& of, simd::CoefficientStretch* stretch) {
  stretch->metric = metric;
  stretch->pairs = of.pairs;
  stretch->coefficients = of.metrics;
  stretch->total = &of.kept->total;
  stretch->col_totals = of.cols.totals;
}

// A side of the pairs, and what is added up for its rows, in copies that share out the other side.
struct Side {
  Matrix<const float> factors;  // what coefficients are multiplied with
  const float* classes;
  int64_t copies, panels;
  ColumnPanels packed;
  Scratch<float> sums;          // [copies, panels, RowsOfPanel(rows), panel]
  std::vector<KeptOfRow> kept;  // [copies, rows]

  Side(const Executor& executor, Matrix<const float> rows, const float* of_rows, int64_t number)
      : factors(rows),
        classes(of_rows),
        copies(number),
        panels(DivideUp(rows.cols, simd::Rows().panel)),
        packed(executor, rows),
        sums(number * Stride()),
        kept(static_cast<size_t>(number * rows.rows)) {
    AdviseHugePages(sums.get(), number * Stride() * int64_t{sizeof(float)});
    ParallelFor(executor, number * Stride(), 1 << 18,
                [&](int64_t begin, int64_t end) { std::fill(sums.get() + begin, sums.get() + end, 0.0f); });
  }
  int64_t Stride() const { return panels * RowsOfPanel(factors.rows) * simd::Rows().panel; }
  float* SumsOf(int64_t copy, int64_t panel, int64_t row) const {
    return sums.get() + copy * Stride() + (panel * RowsOfPanel(factors.rows) + row) * simd::Rows().panel;
  }
  KeptOfRow* KeptOf(int64_t copy, int64_t row) {
    return &kept[static_cast<size_t>(copy * factors.rows + row)];
  }
};

// What a task has of a side.
struct Part {
  Side* side;
  RowRange rows;
  int64_t copy;
};

// `coefficients(PairsOfRow)` turns metrics into coefficients and returns whether any is not 0.
template <class Coefficients>
class PairsOfGroups {
 public:
  // `levels`: how many of a row's levels have slopes.
  PairsOfGroups(const PairProblem& problem, const PairwiseParts& parts, int64_t levels,
                const Coefficients& coefficients)
      : problem_(problem),
        parts_(parts),
        levels_(levels),
        coefficients_(coefficients),
        is_batch_(problem.rows == PairRows::kBatch),
        of_products_(IsProductMetric(problem.metric)),
        of_differences_(IsOfDifferences(problem.metric)) {}

  void Meet(const Part& x, const Part& y) const {
    const bool is_own = is_batch_ && x.rows.begin == y.rows.begin;
    const int64_t cols = y.rows.end - y.rows.begin, stride = cols + simd::kMostStretch;
    const Scratch<float> col_sums((1 + levels_) * stride);
    std::fill_n(col_sums.get(), (1 + levels_) * stride, 0.0f);
    const auto kept_of_cols = [&](int64_t first) {
      float* at = col_sums.get() + first - y.rows.begin;
      return KeptOfCols{of_differences_ ? at : nullptr, levels_ > 0 ? at + stride : nullptr, stride};
    };
    const int64_t height = HeightOf(x.rows);
    std::vector<uint8_t> is_zero(static_cast<size_t>(height));
    std::vector<int32_t> listed(static_cast<size_t>(height));
    for (int64_t begin = x.rows.begin; begin < x.rows.end; begin += height) {
      const int64_t end = std::min(begin + height, x.rows.end);
      const BlockOfRows block(problem_, parts_, begin, end, x.side->classes, y.side->classes);
      const auto add = [&](bool is_mirrored, const Stretch& stretch) {
        const KeptOfCols of_cols = is_mirrored ? kept_of_cols(stretch.first) : KeptOfCols{};
        int64_t rows = 0;
        for (int64_t row = begin; row < end; ++row) {
          const RowOfStretch of_row(problem_.rows != PairRows::kApart, row, x.side->classes[row], begin,
                                    stretch);
          const bool any = coefficients_(PairsOfRow{is_mirrored, row, stretch.first, of_row.pairs(),
                                                    stretch.metrics + (row - begin) * kMetricStride, of_cols,
                                                    x.side->KeptOf(x.copy, row)});
          is_zero[static_cast<size_t>(row - begin)] = !any;
          if (any) listed[static_cast<size_t>(rows++)] = static_cast<int32_t>(row - begin);
        }
        if (rows == 0) return;
        simd::ReducedProduct product = {};
        product.rows = end - begin, product.cols = stretch.cols;
        product.a = stretch.metrics, product.a_stride = kMetricStride;
        product.is_zero = is_zero.data();
        product.listed = listed.data(), product.listed_rows = rows;
        Multiply(x, y, begin, stretch.first, is_mirrored, &product);
      };
      if (is_own) block.Meet(begin, end, [&](const Stretch& stretch) { add(false, stretch); });
      for (int64_t first = is_own ? end : y.rows.begin; first < y.rows.end; first += simd::kMostStretch)
        block.Meet(first, std::min(first + simd::kMostStretch, y.rows.end),
                   [&](const Stretch& stretch) { add(true, stretch); });
    }
    for (int64_t c = 0; c < cols; ++c) {
      KeptOfRow* kept = y.side->KeptOf(y.copy, y.rows.begin + c);
      kept->total += static_cast<double>(col_sums[c]);
      for (int64_t l = 0; l < levels_; ++l)
        kept->levels[l] += static_cast<double>(col_sums[(1 + l) * stride + c]);
    }
  }

 private:
  void Multiply(const Part& x, const Part& y, int64_t begin, int64_t first, bool is_mirrored,
                simd::ReducedProduct* product) const {
    const simd::ReductionKernels& kernels = simd::Reductions();
    for (int64_t p = 0; p < x.side->panels; ++p) {
      product->x_panel = x.side->packed.at(p, begin), product->y_panel = y.side->packed.at(p, first);
      product->next_panel = y.side->packed.at(std::min(p + 1, x.side->panels - 1), first);
      product->dx = x.side->SumsOf(x.copy, p, begin), product->dy = y.side->SumsOf(y.copy, p, first);
      of_products_ ? kernels.product(*product) : kernels.signs(*product);
      if (is_mirrored) of_products_ ? kernels.mirrored_product(*product) : kernels.mirrored_signs(*product);
    }
  }

  const PairProblem& problem_;
  const PairwiseParts& parts_;
  int64_t levels_;
  const Coefficients& coefficients_;
  bool is_batch_, of_products_, of_differences_;
};

// A side that is too small to be shared out is one group, with a copy of its gradient for each group of the
// other side.
inline constexpr int64_t kFewGroups = 8, kMostCopies = 8;

// The gradient of the rows of a side from its sums, where `given` is what the caller measures.
inline void Finish(const Executor& executor, Metric metric, Matrix<const float> given, Side* side,
                   float* gradient) {
  const int64_t rows = given.rows, dim = given.cols, panel = simd::Rows().panel;
  ParallelFor(executor, rows, RowsWorthAThread(dim), [&](int64_t begin, int64_t end) {
    const Scratch<float> unit(dim);
    for (int64_t row = begin; row < end; ++row) {
      KeptOfRow* whole = side->KeptOf(0, row);
      float* to = gradient + row * dim;
      for (int64_t p = 0; p < side->panels; ++p)
        std::copy_n(side->SumsOf(0, p, row), std::min(panel, dim - p * panel), to + p * panel);
      for (int64_t i = 1; i < side->copies; ++i) {
        for (int64_t p = 0; p < side->panels; ++p)
          simd::Rows().axpy(1.0f, side->SumsOf(i, p, row), to + p * panel, std::min(panel, dim - p * panel));
        const KeptOfRow& part = *side->KeptOf(i, row);
        whole->total += part.total;
        for (int t = 0; t < kPairTerms; ++t)
          for (int kind = 0; kind < 3; ++kind) whole->sums[t][kind] += part.sums[t][kind];
        for (int l = 0; l < kMostPairLevels; ++l) whole->levels[l] += part.levels[l];
      }
      if (IsOfDifferences(metric)) {  // sum of a (x - y) = x * sum of a - sum of a y
        const auto total = static_cast<float>(whole->total);
        for (int64_t d = 0; d < dim; ++d) to[d] = total * given.row(row)[d] - to[d];
      }
      if (metric == Metric::kCosine) {
        const float length = simd::Rows().normalise(given.row(row), dim, unit.get());
        ProjectRows({}, {unit.get(), 1, dim}, &length, to);
      }
    }
  });
}

// The gradients of both sides from all pairs; write(the side of x).
template <class Coefficients, class Write>
void MultiplyPairs(const Executor& executor, const PairProblem& problem, const PairwiseParts& parts,
                   const PairClasses& classes, int64_t levels, const Coefficients& coefficients, float* dx,
                   float* dy, const Write& write) {
  const Matrix<const float> x = problem.x, y = problem.others();
  const PairsOfGroups<Coefficients> pairs(problem, parts, levels, coefficients);
  if (problem.rows == PairRows::kBatch) {
    Side side(executor, parts.x(), classes.of_x(), 1);
    const RowGroups groups(x.rows);
    ForEachTwo(executor, groups.count(),
               [&](int64_t i, int64_t j) { pairs.Meet({&side, groups.of(i), 0}, {&side, groups.of(j), 0}); });
    Finish(executor, problem.metric, x, &side, dx);
    return write(side);
  }
  const bool is_few = std::min(RowGroups(x.rows).count(), RowGroups(y.rows).count()) < kFewGroups;
  const bool few_x = is_few && x.rows <= y.rows, few_y = is_few && !few_x;
  const int64_t most = is_few ? kMostCopies : 32;
  const RowGroups of_x(x.rows, few_x ? 1 : most), of_y(y.rows, few_y ? 1 : most);
  Side x_side(executor, parts.x(), classes.of_x(), few_x ? of_y.count() : 1);
  Side y_side(executor, parts.y(), classes.of_y(), few_y ? of_x.count() : 1);
  const auto meet = [&](int64_t i, int64_t j) {
    pairs.Meet({&x_side, of_x.of(i), few_x ? j : 0}, {&y_side, of_y.of(j), few_y ? i : 0});
  };
  if (is_few)
    ParallelFor(executor, of_x.count() * of_y.count(), 1,
                [&](int64_t task, int64_t) { meet(few_x ? 0 : task, few_x ? task : 0); });
  else
    ForEachOfBoth(executor, of_x.count(), of_y.count(), meet);
  Finish(executor, problem.metric, x, &x_side, dx);
  Finish(executor, problem.metric, y, &y_side, dy);
  write(x_side);
}

}  // namespace fslcore::reductions
