// SPDX-License-Identifier: MIT
// What a row's metrics are turned into for the gradient: the derivative of the loss by the sum inside the
// metric of each pair. A pair's coefficient is a function of its metric and of what its rows were reduced to.
#pragma once
#include <cmath>

#include "core/arrays/pages.h"
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

// Which rows the terms belong to, the own rows or both; and what is kept of a row.
struct Owners {
  bool of_col, sums_both;
};

// Of each term, what is kept of a row: the sum of d / d t, of metric * d / d t, and of the levels.
struct KeptOfRow {
  double sums[kPairTerms][3] = {};
  double total = 0.0;  // of the coefficients
};

// What the columns of a stretch get from the rows of a block; null where nothing is wanted.
struct KeptOfCols {
  float* totals;
  float* level_sums[kPairTerms];
};

// Turns the metrics of a row with the columns from `first` on into coefficients. Returns whether any is not
// 0.
inline bool MakeCoefficients(const PairProblem& problem, const TermsOfRows& terms, const Owners& owners,
                             int64_t row, int64_t first, int64_t padded, float row_class,
                             const float* col_classes, float* metrics, const KeptOfCols& cols,
                             KeptOfRow* kept) {
  simd::CoefficientStretch stretch = {};
  stretch.metric = problem.metric;
  stretch.pairs = {padded, metrics, col_classes, row_class};
  stretch.coefficients = metrics;
  stretch.total = &kept->total;
  stretch.col_totals = cols.totals;
  for (int t = 0; t < kPairTerms; ++t) {
    simd::TermSlopes& slopes = stretch.terms[t];
    slopes.term = problem.terms[static_cast<size_t>(t)];
    slopes.parameters = ParametersOf(problem, t);
    slopes.has_level = IsLimited(problem, t);
    slopes.of_col = owners.of_col, slopes.sums_both = owners.sums_both;
    slopes.is_shared = terms.is_shared(t);
    slopes.row_value = terms.values(t)[row];
    slopes.row_grad = terms.grads(t)[row];
    slopes.row_level = terms.levels(t)[row];
    if (owners.of_col) {
      slopes.col_values = terms.values(t) + first;
      slopes.col_grads = terms.grads(t) + first;
      slopes.col_levels = terms.levels(t) + first;
    }
    slopes.sum = kept->sums[t];
    slopes.metric_sum = kept->sums[t] + 1;
    slopes.level_sum = kept->sums[t] + 2;
    slopes.col_level_sums = cols.level_sums[t];
  }
  return simd::Reductions().coefficients(stretch);
}

inline bool IsOfDifferences(Metric metric) {
  return metric == Metric::kSqeuclidean || metric == Metric::kEuclidean;
}

inline bool IsLifted(const PairProblem& problem, int term) {
  return problem.terms[static_cast<size_t>(term)].function == PairFunction::kLifted;
}

}  // namespace fslcore::reductions
