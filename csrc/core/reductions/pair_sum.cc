// SPDX-License-Identifier: MIT
#include "core/reductions/pair_sum.h"

#include "core/reductions/pair_counts.h"
#include "core/reductions/pair_products.h"

namespace fslcore {

using namespace reductions;

std::string CheckPairSum(Metric metric, PairRows rows, const std::array<PairTerm, kPairTerms>& terms,
                         const Sizes& x, const Sizes& y, const Sizes& x_labels, const Sizes& y_labels,
                         const Sizes& weights, const Sizes& parameters, const Sizes& levels,
                         const Sizes& factors) {
  for (const PairTerm& term : terms)
    if (term.function == PairFunction::kLifted ||
        (term.reduction != PairReduction::kSum && term.reduction != PairReduction::kNone))
      return "terms of a sum over pairs must have the reduction sum or none and a function other than "
             "lifted, "
             "received reduction " +
             std::string(kPairReductionNames[static_cast<size_t>(term.reduction)]) + " of " +
             std::string(kPairFunctionNames[static_cast<size_t>(term.function)]);
  const std::string problem = FirstOf(
      {CheckAxes("levels", levels, 2), CheckSizes("factors", factors, {kPairTerms}), CheckAxes("x", x, 2)});
  if (!problem.empty()) return problem;
  if (levels[1] != x[0] || levels[0] > kMostPairLevels)
    return "levels must have shape [0 to " + std::to_string(kMostPairLevels) + ", " + std::to_string(x[0]) +
           "], received shape " + ShapeText(levels);
  return CheckPairReduction(metric, rows, terms, x, y, x_labels, y_labels, weights, parameters, {0, x[0]});
}

namespace {

// The levels row by row, and padded for whole stretches of columns.
class LevelsOfRows {
 public:
  LevelsOfRows(int64_t levels, const float* of_rows, int64_t rows)
      : levels_(levels),
        stride_(rows + simd::kMostStretch),
        by_row_(levels * rows),
        padded_(levels * stride_) {
    for (int64_t l = 0; l < levels; ++l) {
      std::copy_n(of_rows + l * rows, rows, padded_.get() + l * stride_);
      std::fill_n(padded_.get() + l * stride_ + rows, simd::kMostStretch, 0.0f);
      for (int64_t row = 0; row < rows; ++row) by_row_.get()[row * levels + l] = of_rows[l * rows + row];
    }
  }
  int64_t count() const { return levels_; }
  int64_t stride() const { return stride_; }
  const float* of_row(int64_t row) const { return by_row_.get() + row * levels_; }
  const float* from(int64_t col) const { return padded_.get() + col; }

 private:
  int64_t levels_, stride_;
  Scratch<float> by_row_, padded_;
};

bool MakeCoefficients(const PairSumProblem& problem, const LevelsOfRows& levels, const PairsOfRow& of) {
  const bool of_col = problem.pairs.rows == PairRows::kBatch;
  simd::SumStretch stretch = {};
  FillCoefficients(problem.pairs.metric, of, &stretch);
  for (int t = 0; t < kPairTerms; ++t) {
    stretch.terms[t] = problem.pairs.terms[static_cast<size_t>(t)];
    stretch.parameters[t] = ParametersOf(problem.pairs, t);
    stretch.factors[t] = problem.factors[t];
  }
  stretch.sums = of.kept->sums;
  stretch.of_col = of_col, stretch.sums_both = of_col && of.is_mirrored;
  stretch.levels = levels.count();
  stretch.row_levels = levels.of_row(of.row);
  stretch.col_levels = of_col ? levels.from(of.first) : nullptr, stretch.level_stride = levels.stride();
  stretch.level_sums = of.kept->levels;
  stretch.col_level_sums = of_col ? of.cols.level_sums : nullptr;
  stretch.col_level_stride = of.cols.level_stride;
  return simd::Reductions().sum_coefficients(stretch);
}

}  // namespace

void SumPairs(const Executor& executor, const PairSumProblem& problem, const PairSums& out) {
  const PairProblem& pairs = problem.pairs;
  const Matrix<const float> x = pairs.x, y = pairs.others();
  const PairClasses classes(pairs.x_labels, x.rows,
                            pairs.rows == PairRows::kBatch ? pairs.x_labels : pairs.y_labels, y.rows);
  const CountsOfClasses counts(pairs, classes, y.rows);
  const LevelsOfRows levels(problem.levels, problem.of_rows, x.rows);
  const PairwiseParts parts(executor, KernelOf(pairs), x, y);
  double sums[kPairTerms][3] = {}, number[kPairTerms] = {}, total = 0.0;
  MultiplyPairs(
      executor, pairs, parts, classes, problem.levels,
      [&](const PairsOfRow& of) { return MakeCoefficients(problem, levels, of); }, out.dx, out.dy,
      [&](Side& side) {
        for (int64_t row = 0; row < x.rows; ++row) {
          const KeptOfRow& kept = *side.KeptOf(0, row);
          for (int t = 0; t < kPairTerms; ++t) {
            const PairTerm& term = pairs.terms[static_cast<size_t>(t)];
            for (int kind = 0; kind < 3; ++kind) sums[t][kind] += kept.sums[t][kind];
            if (term.reduction != PairReduction::kNone) number[t] += counts.Of(term.pairs, row);
          }
          for (int64_t l = 0; l < problem.levels; ++l)
            out.slopes[l * x.rows + row] = static_cast<float>(kept.levels[l]);
        }
      });
  for (int t = 0; t < kPairTerms; ++t) {
    total += sums[t][2];
    out.counts[t] = static_cast<float>(number[t]);
    out.dparameters[2 * t] = static_cast<float>(sums[t][1]);
    out.dparameters[2 * t + 1] = static_cast<float>(sums[t][0]);
  }
  *out.total = static_cast<float>(total);
}

}  // namespace fslcore
