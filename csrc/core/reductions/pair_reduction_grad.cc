// SPDX-License-Identifier: MIT
// The gradient through the terms of pairs.
#include "core/reductions/pair_coefficients.h"

namespace fslcore {

using namespace reductions;

void ReducePairsGrad(const Executor& executor, const PairProblem& problem, const float* values,
                     const float* grad, const PairGradients& gradients) {
  const Matrix<const float> x = problem.x, y = problem.others();
  const bool is_batch = problem.rows == PairRows::kBatch;
  const PairClasses classes(problem.x_labels, x.rows, is_batch ? problem.x_labels : problem.y_labels, y.rows);
  const TermsOfRows terms(problem, values, grad);
  const PairwiseParts parts(executor, KernelOf(problem), x, y);
  const bool has_lifted = IsLifted(problem, 0) || IsLifted(problem, 1);
  MultiplyPairs(
      executor, problem, parts, classes, has_lifted ? kPairTerms : 0,
      [&](const PairsOfRow& of) { return MakeCoefficients(problem, terms, of); }, gradients.dx, gradients.dy,
      [&](Side& side) {
        for (int64_t row = 0; row < x.rows; ++row)
          for (int t = 0; t < kPairTerms; ++t) {
            const KeptOfRow* kept = side.KeptOf(0, row);
            for (int kind = 0; kind < 2; ++kind)
              gradients.sums[(2 * t + kind) * x.rows + row] = static_cast<float>(kept->sums[t][kind]);
            if (gradients.dlevels)
              gradients.dlevels[t * x.rows + row] =
                  IsLifted(problem, t) ? static_cast<float>(kept->levels[t]) : 0.0f;
          }
      });
}

}  // namespace fslcore
