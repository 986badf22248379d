// SPDX-License-Identifier: MIT
// The gradient through the terms of pairs. Blocks of rows make their metrics again, turn them into
// coefficients, and multiply these with the rows of both sides while they are in the cache: with one unit for
// all products of the pairs, one for the metrics and two for the gradients. Where y is x, a coefficient is
// that of a pair and of its mirror image together, and half of the pairs will do.
#include "core/reductions/pair_coefficients.h"
#include "core/reductions/pair_rounds.h"

namespace fslcore {

using namespace reductions;

namespace {

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

class PairsOfGroups {
 public:
  PairsOfGroups(const PairProblem& problem, const PairwiseParts& parts, const TermsOfRows& terms)
      : problem_(problem),
        parts_(parts),
        terms_(terms),
        is_batch_(problem.rows == PairRows::kBatch),
        of_products_(IsProductMetric(problem.metric)),
        of_differences_(IsOfDifferences(problem.metric)) {}

  void Meet(const Part& x, const Part& y) const {
    const bool is_own = is_batch_ && x.rows.begin == y.rows.begin;
    const int64_t cols = y.rows.end - y.rows.begin, stride = cols + simd::kMostStretch;
    const Scratch<float> col_sums((1 + kPairTerms) * stride);
    std::fill_n(col_sums.get(), (1 + kPairTerms) * stride, 0.0f);
    const auto kept_of_cols = [&](int64_t first) {
      KeptOfCols kept = {};
      float* at = col_sums.get() + first - y.rows.begin;
      if (of_differences_) kept.totals = at;
      for (int t = 0; t < kPairTerms; ++t)
        if (IsLifted(problem_, t)) kept.level_sums[t] = at + (1 + t) * stride;
      return kept;
    };
    const int64_t height = HeightOf(x.rows);
    std::vector<uint8_t> is_zero(static_cast<size_t>(height));
    std::vector<int32_t> listed(static_cast<size_t>(height));
    for (int64_t begin = x.rows.begin; begin < x.rows.end; begin += height) {
      const int64_t end = std::min(begin + height, x.rows.end);
      const BlockOfRows block(problem_, parts_, begin, end, x.side->classes, y.side->classes);
      const auto add = [&](bool is_mirrored, int64_t first, int64_t count, int64_t padded, float* metrics,
                           float* col_classes) {
        const KeptOfCols of_cols = is_mirrored ? kept_of_cols(first) : KeptOfCols{};
        int64_t rows = 0;
        for (int64_t row = begin; row < end; ++row) {
          const WithoutSelf without(problem_.rows != PairRows::kApart, row, first, count, col_classes);
          const bool any =
              MakeCoefficients(problem_, terms_, {is_batch_, is_batch_ && is_mirrored}, row, first, padded,
                               x.side->classes[row], col_classes, metrics + (row - begin) * kMetricStride,
                               of_cols, x.side->KeptOf(x.copy, row));
          is_zero[static_cast<size_t>(row - begin)] = !any;
          if (any) listed[static_cast<size_t>(rows++)] = static_cast<int32_t>(row - begin);
        }
        if (rows == 0) return;
        simd::ReducedProduct product = {};
        product.rows = end - begin, product.cols = count;
        product.a = metrics, product.a_stride = kMetricStride;
        product.is_zero = is_zero.data();
        product.listed = listed.data(), product.listed_rows = rows;
        Multiply(x, y, begin, first, is_mirrored, &product);
      };
      if (is_own) block.Meet(begin, end, [&](auto... stretch) { add(false, stretch...); });
      for (int64_t first = is_own ? end : y.rows.begin; first < y.rows.end; first += simd::kMostStretch)
        block.Meet(first, std::min(first + simd::kMostStretch, y.rows.end),
                   [&](auto... stretch) { add(true, stretch...); });
    }
    for (int64_t c = 0; c < cols; ++c) {
      KeptOfRow* kept = y.side->KeptOf(y.copy, y.rows.begin + c);
      kept->total += static_cast<double>(col_sums[c]);
      for (int t = 0; t < kPairTerms; ++t)
        kept->sums[t][2] += static_cast<double>(col_sums[(1 + t) * stride + c]);
    }
  }

 private:
  void Multiply(const Part& x, const Part& y, int64_t begin, int64_t first, bool is_mirrored,
                simd::ReducedProduct* product) const {
    const simd::ReductionKernels& kernels = simd::Reductions();
    for (int64_t p = 0; p < x.side->panels; ++p) {
      product->x_panel = x.side->packed.at(p, begin), product->y_panel = y.side->packed.at(p, first);
      product->dx = x.side->SumsOf(x.copy, p, begin), product->dy = y.side->SumsOf(y.copy, p, first);
      of_products_ ? kernels.product(*product) : kernels.signs(*product);
      if (is_mirrored) of_products_ ? kernels.mirrored_product(*product) : kernels.mirrored_signs(*product);
    }
  }

  const PairProblem& problem_;
  const PairwiseParts& parts_;
  const TermsOfRows& terms_;
  bool is_batch_, of_products_, of_differences_;
};

// A side that is too small to be shared out is one group, with a copy of its gradient for each group of the
// other side.
constexpr int64_t kFewGroups = 8, kMostCopies = 8;

// The gradient of the rows of a side from its sums, where `given` is what the caller measures.
void Finish(const Executor& executor, Metric metric, Matrix<const float> given, Side* side, float* gradient) {
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

}  // namespace

void ReducePairsGrad(const Executor& executor, const PairProblem& problem, const float* values,
                     const float* grad, const PairGradients& gradients) {
  const Matrix<const float> x = problem.x, y = problem.others();
  const bool is_batch = problem.rows == PairRows::kBatch;
  const PairClasses classes(problem.x_labels, x.rows, is_batch ? problem.x_labels : problem.y_labels, y.rows);
  const TermsOfRows terms(problem, values, grad);
  const PairwiseParts parts(executor, KernelOf(problem), x, y);
  const PairsOfGroups pairs(problem, parts, terms);
  const auto write_sums = [&](Side& side) {
    for (int64_t row = 0; row < x.rows; ++row)
      for (int t = 0; t < kPairTerms; ++t) {
        const double* sums = side.KeptOf(0, row)->sums[t];
        for (int kind = 0; kind < 2; ++kind)
          gradients.sums[(2 * t + kind) * x.rows + row] = static_cast<float>(sums[kind]);
        if (gradients.dlevels)
          gradients.dlevels[t * x.rows + row] = IsLifted(problem, t) ? static_cast<float>(sums[2]) : 0.0f;
      }
  };
  if (is_batch) {
    Side side(executor, parts.x(), classes.of_x(), 1);
    const RowGroups groups(x.rows);
    ForEachTwo(executor, groups.count(),
               [&](int64_t i, int64_t j) { pairs.Meet({&side, groups.of(i), 0}, {&side, groups.of(j), 0}); });
    Finish(executor, problem.metric, x, &side, gradients.dx);
    return write_sums(side);
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
  Finish(executor, problem.metric, x, &x_side, gradients.dx);
  Finish(executor, problem.metric, y, &y_side, gradients.dy);
  write_sums(x_side);
}

}  // namespace fslcore
