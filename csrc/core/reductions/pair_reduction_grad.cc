// SPDX-License-Identifier: MIT
// The gradient through the terms of pairs. A pair's coefficient is a function of its metric and of what its
// row was reduced to; so each block of rows makes its metrics again, turns them into coefficients, and
// multiplies these with the other rows while they are in the cache. The gradient of a row is written by one
// thread: where y is x, a coefficient is that of the pair and of its mirror image together; else y is done
// after x, with the roles exchanged. With one unit for the products of a symmetric half of the pairs, the
// metrics take two and the gradient two.
#include <cmath>

#include "core/reductions/pair_stretches.h"
#include "core/simd/pairwise_kernels.h"

namespace fslcore {

using namespace reductions;

namespace {

// The rows of one side packed by columns, [panels, rows, panel].
class ColumnPanels {
 public:
  ColumnPanels(const Executor& executor, Matrix<const float> rows)
      : rows_(rows.rows),
        panels_(DivideUp(rows.cols, simd::Rows().panel)),
        packed_(panels_ * simd::Rows().panel * rows.rows) {
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

// What the terms of the rows of x were reduced to, and the gradient with respect to it, padded to whole
// stretches. Levels may be null.
class TermsOfRows {
 public:
  TermsOfRows(const PairProblem& problem, const float* values, const float* grad)
      : stride_(problem.x.rows + simd::kMostStretch), all_(3 * kPairTerms * stride_) {
    const float* from[3] = {values, grad, problem.levels};
    for (int kind = 0; kind < 3; ++kind)
      for (int term = 0; term < kPairTerms; ++term) {
        float* to = all_.get() + (kind * kPairTerms + term) * stride_;
        std::fill_n(to, stride_, 0.0f);
        if (from[kind]) std::copy_n(from[kind] + term * problem.x.rows, problem.x.rows, to);
      }
  }
  const float* values(int term) const { return all_.get() + term * stride_; }
  const float* grads(int term) const { return all_.get() + (kPairTerms + term) * stride_; }
  const float* levels(int term) const { return all_.get() + (2 * kPairTerms + term) * stride_; }

 private:
  int64_t stride_;
  Scratch<float> all_;
};

// One side of the pairs: the gradient of `own` rows, over all `other` rows.
struct Side {
  Matrix<const float> own, other;                  // what was measured; for cosine of any length
  Matrix<const float> own_factors, other_factors;  // what coefficients are multiplied with
  const float *own_classes, *other_classes;
  bool of_row, of_col;  // terms belong to the own rows, to the others, or to both
  float* gradient;
  float *sums, *dlevels;  // or null
};

bool IsOfDifferences(Metric metric) { return metric == Metric::kSqeuclidean || metric == Metric::kEuclidean; }

void GradientOf(const Executor& executor, const PairProblem& problem, const TermsOfRows& terms,
                const Side& side) {
  const int64_t dim = side.own.cols, panel = simd::Rows().panel;
  const PairwiseParts parts(executor, KernelOf(problem), side.own, side.other);
  const ColumnPanels others(executor, side.other_factors);
  const bool of_products = IsProductMetric(problem.metric);
  const auto multiply = of_products ? simd::Reductions().product : simd::Reductions().signs;
  ParallelFor(executor, side.own.rows, BlockRows(side.own.rows), [&](int64_t begin, int64_t end) {
    const int64_t rows = end - begin;
    const Matrix<const float> block = {side.own_factors.row(begin), rows, dim};
    const ColumnPanels own({}, {block.data, of_products ? 0 : rows, dim});  // products do not read it
    const Scratch<float> sums(others.panels() * rows * panel);
    std::fill_n(sums.get(), others.panels() * rows * panel, 0.0f);
    std::vector<double> totals(static_cast<size_t>(rows)),
        of_terms(static_cast<size_t>(3 * kPairTerms * rows));
    std::vector<uint8_t> is_zero(static_cast<size_t>(rows));
    ForEachStretch(
        parts, begin, end, side.other.rows, side.other_classes,
        [&](int64_t first, int64_t cols, int64_t padded, float* metrics, float* col_classes) {
          bool any = false;
          for (int64_t r = 0; r < rows; ++r) {
            const WithoutSelf without(problem.rows != PairRows::kApart, begin + r, first, cols, col_classes);
            float* of_row = metrics + r * simd::kMostStretch;
            simd::CoefficientStretch stretch = {};
            stretch.metric = problem.metric;
            stretch.pairs = {padded, of_row, col_classes, side.own_classes[begin + r]};
            stretch.coefficients = of_row;
            stretch.total = &totals[static_cast<size_t>(r)];
            for (int t = 0; t < kPairTerms; ++t) {
              simd::TermSlopes& slopes = stretch.terms[t];
              slopes.term = problem.terms[static_cast<size_t>(t)];
              slopes.parameters = ParametersOf(problem, t);
              slopes.has_level = IsLimited(problem, t);
              slopes.of_row = side.of_row;
              slopes.of_col = side.of_col;
              if (side.of_row) {
                slopes.row_value = terms.values(t)[begin + r];
                slopes.row_grad = terms.grads(t)[begin + r];
                slopes.row_level = terms.levels(t)[begin + r];
              }
              if (side.of_col) {
                slopes.col_values = terms.values(t) + first;
                slopes.col_grads = terms.grads(t) + first;
                slopes.col_levels = terms.levels(t) + first;
              }
              double* kept = &of_terms[static_cast<size_t>(3 * (kPairTerms * r + t))];
              slopes.sum = kept;
              slopes.metric_sum = kept + 1;
              slopes.level_sum = kept + 2;
            }
            is_zero[static_cast<size_t>(r)] = !simd::Reductions().coefficients(stretch);
            any = any || !is_zero[static_cast<size_t>(r)];
          }
          if (!any) return;
          for (int64_t p = 0; p < others.panels(); ++p)
            multiply({rows, cols, metrics, simd::kMostStretch, of_products ? nullptr : own.at(p, 0),
                      others.at(p, first), is_zero.data(), sums.get() + p * rows * panel});
        });
    for (int64_t r = 0; r < rows; ++r) {
      float* to = side.gradient + (begin + r) * dim;
      for (int64_t p = 0; p < others.panels(); ++p)
        std::copy_n(sums.get() + (p * rows + r) * panel, std::min(panel, dim - p * panel), to + p * panel);
      if (IsOfDifferences(problem.metric)) {  // sum of a (x - y) = x * sum of a - sum of a y
        const auto total = static_cast<float>(totals[static_cast<size_t>(r)]);
        for (int64_t d = 0; d < dim; ++d) to[d] = total * block.row(r)[d] - to[d];
      }
      if (side.sums == nullptr) continue;
      for (int t = 0; t < kPairTerms; ++t) {
        const double* kept = &of_terms[static_cast<size_t>(3 * (kPairTerms * r + t))];
        for (int kind = 0; kind < 2; ++kind)
          side.sums[(2 * t + kind) * side.own.rows + begin + r] = static_cast<float>(kept[kind]);
        if (side.dlevels)
          side.dlevels[t * side.own.rows + begin + r] =
              problem.terms[static_cast<size_t>(t)].function == PairFunction::kLifted
                  ? static_cast<float>(kept[2])
                  : 0.0f;
      }
    }
  });
}

}  // namespace

void ReducePairsGrad(const Executor& executor, const PairProblem& problem, const float* values,
                     const float* grad, const PairGradients& gradients) {
  const Matrix<const float> x = problem.x, y = problem.others();
  const bool is_batch = problem.rows == PairRows::kBatch;
  const bool is_cosine = problem.metric == Metric::kCosine;
  const PairClasses classes(problem.x_labels, x.rows, is_batch ? problem.x_labels : problem.y_labels, y.rows);
  const TermsOfRows terms(problem, values, grad);
  const int64_t apart = is_batch ? 0 : y.rows;
  const Scratch<float> unit_x(is_cosine ? x.rows * x.cols : 0), unit_y(is_cosine ? apart * x.cols : 0);
  const Scratch<float> x_norms(is_cosine ? x.rows : 0), y_norms(is_cosine ? apart : 0);
  Matrix<const float> x_factors = x, y_factors = y;
  if (is_cosine) {
    NormaliseRows(executor, x, unit_x.get(), x_norms.get());
    x_factors.data = unit_x.get();
    if (!is_batch) NormaliseRows(executor, y, unit_y.get(), y_norms.get());
    y_factors.data = is_batch ? unit_x.get() : unit_y.get();
  }
  GradientOf(executor, problem, terms,
             {x, y, x_factors, y_factors, classes.of_x(), classes.of_y(), true, is_batch, gradients.dx,
              gradients.sums, gradients.dlevels});
  if (is_cosine) ProjectRows(executor, x_factors, x_norms.get(), gradients.dx);
  if (is_batch) return;
  GradientOf(executor, problem, terms,
             {y, x, y_factors, x_factors, classes.of_y(), classes.of_x(), false, true, gradients.dy, nullptr,
              nullptr});
  if (is_cosine) ProjectRows(executor, y_factors, y_norms.get(), gradients.dy);
}

}  // namespace fslcore
