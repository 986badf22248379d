// SPDX-License-Identifier: MIT
// Losses over pairs without their matrix: two terms (pair_terms.h) of every row of x over all rows of y, and
// the gradient of any function of them. Parts of the matrix are made, reduced and forgotten; the gradient
// makes them again. Metrics are those of the pairwise kernels, with their rounding.
//
// Memory: O((x.rows + y.rows) * dim). The order of sums is a function of the shapes: results do not depend on
// the number of threads. No rows, or no rows of y, is the value of no pairs; dim = 0 is allowed.
#pragma once
#include <array>
#include <string>

#include "core/arrays/sizes.h"
#include "core/arrays/views.h"
#include "core/pairwise/metric.h"
#include "core/reductions/pair_names.h"
#include "core/reductions/pair_terms.h"
#include "core/threads/parallel.h"

namespace fslcore {

inline constexpr std::array<Metric, 6> kReducedMetrics = {Metric::kSqeuclidean, Metric::kEuclidean,
                                                          Metric::kCosine,      Metric::kDot,
                                                          Metric::kManhattan,   Metric::kWeightedManhattan};

// Classes are told apart as float32 numbers of their order.
inline constexpr int64_t kMostReducedRows = 1 << 24;

struct PairProblem {
  Metric metric;
  PairRows rows;
  std::array<PairTerm, kPairTerms> terms;
  Matrix<const float> x, y;            // y [0, dim] if the rows are a batch
  const int64_t *x_labels, *y_labels;  // [x.rows], [y.rows]
  Vector<const float> weights;         // [dim] for weighted_manhattan, else empty
  const float* parameters;             // [kPairTerms, kPairParameters]
  const float* levels;                 // [kPairTerms, x.rows], or null

  Matrix<const float> others() const { return rows == PairRows::kBatch ? x : y; }
};

// An error message if the arguments do not fit together, empty otherwise. levels [0 or kPairTerms, x.rows].
std::string CheckPairReduction(Metric metric, PairRows rows, const std::array<PairTerm, kPairTerms>& terms,
                               const Sizes& x, const Sizes& y, const Sizes& x_labels, const Sizes& y_labels,
                               const Sizes& weights, const Sizes& parameters, const Sizes& levels);

struct ReducedPairs {  // each [kPairTerms, x.rows]
  float* values;
  int32_t* indices;  // the row of y at the max or min, of equals the first; -1 for other terms or no pairs
  float* counts;     // of pairs that count
};

void ReducePairs(const Executor& executor, const PairProblem& problem, const ReducedPairs& reduced);

struct PairGradients {
  float* dx;  // [x.rows, dim]; weighted_manhattan leaves the factor weights to the caller, here and in dy
  float* dy;  // [y.rows, dim]
  float* dlevels;  // [kPairTerms, x.rows] of lifted terms, 0 for others; null without levels
  // [kPairTerms, 2, x.rows], whose sums over all rows are the gradients by the offset and, of metric * d / d
  // t, by the scale; where y is x, the part of a pair may stand with either of its rows.
  float* sums;
};

// `grad` is d loss / d values and `values` what ReducePairs returned, both [kPairTerms, x.rows]. Terms of
// max and min have no gradient here: it follows from their indices.
void ReducePairsGrad(const Executor& executor, const PairProblem& problem, const float* values,
                     const float* grad, const PairGradients& gradients);

}  // namespace fslcore
