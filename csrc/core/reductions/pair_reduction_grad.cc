// SPDX-License-Identifier: MIT
// The gradient through the terms of pairs. Each block of rows makes its metrics again, turns them into
// coefficients, and multiplies these with the other rows while they are in the cache. The gradient of a row
// is written by one thread: y is done after x, with the roles exchanged. Where y is x, pair_half_grad.cc
// needs half of the products; but for lifted terms, whose levels have gradients of their own.
#include "core/reductions/pair_coefficients.h"

namespace fslcore {

using namespace reductions;

namespace {

// One side of the pairs: the gradient of `own` rows, over all `other` rows.
struct Side {
  Matrix<const float> own, other;                  // what was measured; for cosine of any length
  Matrix<const float> own_factors, other_factors;  // what coefficients are multiplied with
  const float *own_classes, *other_classes;
  bool of_row, of_col;  // terms belong to the own rows, to the others, or to both
  float* gradient;
  float *sums, *dlevels;  // or null
};

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
    std::vector<KeptOfRow> kept(static_cast<size_t>(rows));
    std::vector<uint8_t> is_zero(static_cast<size_t>(rows));
    ForEachStretch(
        problem, parts, begin, end, side.other.rows, side.own_classes, side.other_classes,
        [&](int64_t first, int64_t cols, int64_t padded, float* metrics, float* col_classes) {
          bool any = false;
          for (int64_t r = 0; r < rows; ++r) {
            const WithoutSelf without(problem.rows != PairRows::kApart, begin + r, first, cols, col_classes);
            is_zero[static_cast<size_t>(r)] =
                !MakeCoefficients(problem, terms, {side.of_row, side.of_col, false}, begin + r, first, padded,
                                  side.own_classes[begin + r], col_classes, metrics + r * simd::kMostStretch,
                                  nullptr, &kept[static_cast<size_t>(r)]);
            any = any || !is_zero[static_cast<size_t>(r)];
          }
          if (!any) return;
          for (int64_t p = 0; p < others.panels(); ++p) {
            simd::ReducedProduct product = {};
            product.rows = rows, product.cols = cols;
            product.a = metrics, product.a_stride = simd::kMostStretch;
            product.x_panel = of_products ? nullptr : own.at(p, 0), product.y_panel = others.at(p, first);
            product.is_zero = is_zero.data();
            product.dx = sums.get() + p * rows * panel;
            multiply(product);
          }
        });
    for (int64_t r = 0; r < rows; ++r) {
      float* to = side.gradient + (begin + r) * dim;
      for (int64_t p = 0; p < others.panels(); ++p)
        std::copy_n(sums.get() + (p * rows + r) * panel, std::min(panel, dim - p * panel), to + p * panel);
      if (IsOfDifferences(problem.metric)) {  // sum of a (x - y) = x * sum of a - sum of a y
        const auto total = static_cast<float>(kept[static_cast<size_t>(r)].total);
        for (int64_t d = 0; d < dim; ++d) to[d] = total * block.row(r)[d] - to[d];
      }
      if (side.sums)
        WriteSums(problem, kept[static_cast<size_t>(r)], begin + r, side.own.rows, side.sums, side.dlevels);
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
  const bool is_lifted = std::any_of(problem.terms.begin(), problem.terms.end(), [](const PairTerm& term) {
    return term.function == PairFunction::kLifted;
  });
  if (is_batch && !is_lifted) {
    HalfGradient(executor, problem, terms, classes, x_factors, gradients);
    if (is_cosine) ProjectRows(executor, x_factors, x_norms.get(), gradients.dx);
    return;
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
