// SPDX-License-Identifier: MIT
#include "core/reductions/pair_reduction.h"

#include <cmath>

#include "core/reductions/pair_stretches.h"

namespace fslcore {

using namespace reductions;

std::string CheckPairReduction(Metric metric, PairRows rows, const std::array<PairTerm, kPairTerms>& terms,
                               const Sizes& x, const Sizes& y, const Sizes& x_labels, const Sizes& y_labels,
                               const Sizes& weights, const Sizes& parameters, const Sizes& levels) {
  const std::string problem = FirstOf(
      {CheckAxes("x", x, 2), CheckAxes("y", y, 2), CheckAxes("x_labels", x_labels, 1),
       CheckAxes("y_labels", y_labels, 1), CheckAxes("weights", weights, 1),
       CheckSizes("parameters", parameters, {kPairTerms, kPairParameters}), CheckAxes("levels", levels, 2)});
  if (!problem.empty()) return problem;
  if (x[1] != y[1])
    return "x and y must have the same number of columns, received x: " + ShapeText(x) +
           ", y: " + ShapeText(y);
  for (const auto& [name, of, labels] : {std::tuple{"x", &x, &x_labels}, std::tuple{"y", &y, &y_labels}}) {
    if ((*of)[0] >= kMostReducedRows)
      return std::string(name) + " must have fewer than 2^24 rows, received " + std::to_string((*of)[0]);
    if ((*labels)[0] != (*of)[0])
      return std::string(name) + "_labels must hold one label per row of " + name + " (" +
             std::to_string((*of)[0]) + "), received " + std::to_string((*labels)[0]);
  }
  const int64_t wanted_weights = metric == Metric::kWeightedManhattan ? x[1] : 0;
  if (weights[0] != wanted_weights)
    return "weights must hold " + std::to_string(wanted_weights) + " numbers for this metric, received " +
           std::to_string(weights[0]);
  if (rows == PairRows::kBatch && y[0] != 0)
    return "y must have no rows where the rows are a batch, received " + std::to_string(y[0]);
  if (rows == PairRows::kLeading && y[0] < x[0])
    return "y must begin with the rows of x, received x: " + ShapeText(x) + ", y: " + ShapeText(y);
  if (levels != Sizes{0, x[0]} && levels != Sizes{kPairTerms, x[0]})
    return "levels must have shape [0, " + std::to_string(x[0]) + "] or " + ShapeText({kPairTerms, x[0]}) +
           ", received shape " + ShapeText(levels);
  for (const PairTerm& term : terms)
    if (term.function == PairFunction::kLifted && (rows != PairRows::kBatch || levels[0] == 0))
      return "the function lifted needs the rows of a batch and their levels, received neither or one of "
             "both";
  return "";
}

namespace {

float Finished(const PairTerm& term, const simd::ReducedTerm& reduced) {
  if (reduced.has_nan) return std::numeric_limits<float>::quiet_NaN();
  switch (term.reduction) {
    case PairReduction::kNone:
      return 0.0f;
    case PairReduction::kSum:
      return static_cast<float>(reduced.sum);
    case PairReduction::kLogSumExp:
      return std::isinf(reduced.extreme)
                 ? reduced.extreme
                 : static_cast<float>(static_cast<double>(reduced.extreme) + std::log(reduced.sum));
    case PairReduction::kMax:
      return reduced.extreme;
    case PairReduction::kMin:
      return -reduced.extreme;
  }
  return 0.0f;
}

}  // namespace

void ReducePairs(const Executor& executor, const PairProblem& problem, const ReducedPairs& out) {
  const Matrix<const float> x = problem.x, y = problem.others();
  const int64_t* y_labels = problem.rows == PairRows::kBatch ? problem.x_labels : problem.y_labels;
  const PairClasses classes(problem.x_labels, x.rows, y_labels, y.rows);
  const PairwiseParts parts(executor, KernelOf(problem), x, y);
  const bool excludes_self = problem.rows != PairRows::kApart;
  // Padded, for whole vectors of levels of columns.
  const Scratch<float> col_levels(kPairTerms * (y.rows + simd::kMostStretch));
  if (problem.levels != nullptr && problem.rows == PairRows::kBatch)
    for (int term = 0; term < kPairTerms; ++term) {
      float* padded = col_levels.get() + term * (y.rows + simd::kMostStretch);
      std::copy_n(problem.levels + term * x.rows, x.rows, padded);
      std::fill_n(padded + x.rows, simd::kMostStretch, 0.0f);
    }

  ParallelFor(executor, x.rows, BlockRows(x.rows), [&](int64_t begin, int64_t end) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    std::vector<simd::ReducedTerm> reduced(static_cast<size_t>(kPairTerms * (end - begin)),
                                           {-kInfinity, false, 0.0, 0.0, -1});
    ForEachStretch(
        parts, begin, end, y.rows, classes.of_y(),
        [&](int64_t first, int64_t cols, int64_t padded, const float* metrics, float* col_classes) {
          for (int64_t row = begin; row < end; ++row) {
            const WithoutSelf without(excludes_self, row, first, cols, col_classes);
            const simd::PairStretch pairs = {padded, metrics + (row - begin) * simd::kMostStretch,
                                             col_classes, classes.of_x()[row]};
            for (int term = 0; term < kPairTerms; ++term) {
              const PairTerm& of = problem.terms[static_cast<size_t>(term)];
              if (of.reduction == PairReduction::kNone) continue;
              simd::Reductions().reduce(
                  pairs, {of, ParametersOf(problem, term), IsLimited(problem, term),
                          problem.levels ? problem.levels[term * x.rows + row] : 0.0f,
                          col_levels.get() + term * (y.rows + simd::kMostStretch) + first, first,
                          &reduced[static_cast<size_t>(kPairTerms * (row - begin) + term)]});
            }
          }
        });
    for (int64_t row = begin; row < end; ++row)
      for (int term = 0; term < kPairTerms; ++term) {
        const simd::ReducedTerm& of = reduced[static_cast<size_t>(kPairTerms * (row - begin) + term)];
        const int64_t at = term * x.rows + row;
        out.values[at] = Finished(problem.terms[static_cast<size_t>(term)], of);
        out.indices[at] = IsExtreme(problem.terms[static_cast<size_t>(term)].reduction) ? of.index : -1;
        out.counts[at] = static_cast<float>(of.count);
      }
  });
}

}  // namespace fslcore
