// SPDX-License-Identifier: MIT
// What a row's metrics are turned into for the gradient: the derivative of the loss by the sum inside the
// metric of each pair. A pair's coefficient is a function of its metric and of what its rows were reduced to.
#pragma once
#include <cmath>

#include "core/reductions/pair_products.h"

namespace fslcore::reductions {

// What the terms of the rows of x were reduced to, and the gradient with respect to it, padded to whole
// stretches; the levels may be null.
class TermsOfRows {
 public:
  TermsOfRows(const PairProblem& problem, const float* values, const float* grad)
      : rows_(problem.x.rows), stride_(rows_ + simd::kMostStretch), all_(3 * kPairTerms * stride_) {
    const float* from[3] = {values, grad, problem.levels};
    for (int kind = 0; kind < 3; ++kind)
      for (int term = 0; term < kPairTerms; ++term) {
        float* to = all_.get() + (kind * kPairTerms + term) * stride_;
        std::fill_n(to, stride_, 0.0f);
        if (from[kind]) std::copy_n(from[kind] + term * rows_, rows_, to);
      }
    for (int term = 0; term < kPairTerms; ++term)
      if (problem.terms[static_cast<size_t>(term)].reduction == PairReduction::kLogSumExp) Share(term);
  }
  const float* values(int term) const { return all_.get() + term * stride_; }
  const float* grads(int term) const { return all_.get() + (kPairTerms + term) * stride_; }
  const float* levels(int term) const { return all_.get() + (2 * kPairTerms + term) * stride_; }
  bool is_shared(int term) const { return is_shared_[term]; }

 private:
  // Where no two values are far apart, one exponential serves both rows of a pair: g e^(z - value) =
  // g e^(greatest - value) e^(z - greatest).
  void Share(int term) {
    constexpr float kFarApart = 40.0f;
    float* value = all_.get() + term * stride_;
    float* grad = all_.get() + (kPairTerms + term) * stride_;
    float least = std::numeric_limits<float>::infinity(), greatest = -least;
    for (int64_t i = 0; i < rows_; ++i) {
      if (std::isnan(value[i])) return;
      if (std::isinf(value[i]) && value[i] < 0.0f) continue;  // without pairs
      least = std::min(least, value[i]), greatest = std::max(greatest, value[i]);
    }
    if (!(greatest - least <= kFarApart)) return;
    for (int64_t i = 0; i < rows_; ++i) {
      grad[i] = std::isinf(value[i]) ? 0.0f : grad[i] * std::exp(greatest - value[i]);
      value[i] = greatest;
    }
    is_shared_[term] = true;
  }

  int64_t rows_, stride_;
  Scratch<float> all_;
  bool is_shared_[kPairTerms] = {};
};

inline bool IsLifted(const PairProblem& problem, int term) {
  return problem.terms[static_cast<size_t>(term)].function == PairFunction::kLifted;
}

// The coefficients of a row with a stretch. The terms belong to the columns too if the rows are a batch.
inline bool MakeCoefficients(const PairProblem& problem, const TermsOfRows& terms, const PairsOfRow& of) {
  const bool of_col = problem.rows == PairRows::kBatch;
  simd::SlopesStretch stretch = {};
  FillCoefficients(problem.metric, of, &stretch);
  for (int t = 0; t < kPairTerms; ++t) {
    simd::TermSlopes& slopes = stretch.terms[t];
    slopes.term = problem.terms[static_cast<size_t>(t)];
    if (slopes.term.reduction == PairReduction::kNone) continue;
    slopes.parameters = ParametersOf(problem, t);
    slopes.has_level = IsLimited(problem, t);
    slopes.of_col = of_col, slopes.sums_both = of_col && of.is_mirrored;
    slopes.is_shared = terms.is_shared(t);
    slopes.row_value = terms.values(t)[of.row];
    slopes.row_grad = terms.grads(t)[of.row];
    slopes.row_level = terms.levels(t)[of.row];
    if (of_col) {
      slopes.col_values = terms.values(t) + of.first;
      slopes.col_grads = terms.grads(t) + of.first;
      slopes.col_levels = terms.levels(t) + of.first;
    }
    slopes.sum = of.kept->sums[t];
    slopes.metric_sum = of.kept->sums[t] + 1;
    slopes.level_sum = of.kept->levels + t;
    if (IsLifted(problem, t) && of.cols.level_sums)
      slopes.col_level_sums = of.cols.level_sums + t * of.cols.level_stride;
  }
  return simd::Reductions().coefficients(stretch);
}

}  // namespace fslcore::reductions
