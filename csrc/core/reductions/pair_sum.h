// SPDX-License-Identifier: MIT
// Sums over pairs with their gradient in one pass: what a loss needs whose terms are sums alone. The metrics
// of the pairs are made once instead of twice, and with them the values, as no coefficient depends on what
// the rows are reduced to: three products of the pairs (six of two sides) instead of four (eight).
//
// With the terms of pair_terms.h, their reductions sum or none, without lifted:
//
//   total = sum over terms of factor * sum over rows of x, their pairs and levels of function(t - level)
//
// The levels of a row are those of its column of `levels`; without levels, t is taken as it is. Memory and
// order of sums are as for pair_reduction.h.
#pragma once
#include <array>
#include <string>

#include "core/reductions/pair_reduction.h"

namespace fslcore {

struct PairSumProblem {
  PairProblem pairs;     // its levels are not used
  const float* factors;  // [kPairTerms]
  int64_t levels;        // at most kMostPairLevels
  const float* of_rows;  // [levels, x.rows]
};

// An error message if the arguments do not fit together, empty otherwise. levels [levels, x.rows].
std::string CheckPairSum(Metric metric, PairRows rows, const std::array<PairTerm, kPairTerms>& terms,
                         const Sizes& x, const Sizes& y, const Sizes& x_labels, const Sizes& y_labels,
                         const Sizes& weights, const Sizes& parameters, const Sizes& levels,
                         const Sizes& factors);

struct PairSums {
  float* total;        // scalar
  float* counts;       // [kPairTerms] of pairs, one for each row that has the term
  float* slopes;       // [levels, x.rows], of each level the sum of factor * d function / d t
  float* dx;           // [x.rows, dim]; weighted_manhattan leaves the factor weights to the caller
  float* dy;           // [y.rows, dim], likewise
  float* dparameters;  // [kPairTerms, 2] by scale and offset
};

void SumPairs(const Executor& executor, const PairSumProblem& problem, const PairSums& out);

}  // namespace fslcore
