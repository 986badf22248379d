// SPDX-License-Identifier: MIT
// A term of a loss over pairs: for each row of x one number, reduced from the pairs that it forms with rows
// of y. With s the metric of a pair and t = scale * s + offset:
//
//   pairs      positive: of one class          negative: of two classes          all: both
//   function   linear         t                      squared_hinge  max(t, 0)^2
//              hinge          max(t, 0)              softplus       log(1 + e^t)
//              circle         gain * max(t, 0) * (t - shift), whose first factor counts as a constant
//                             (Sun et al., "Circle Loss", CVPR 2020, eq. 8)
//              lifted         max(t + log(e^u[row] + e^u[column]), 0)^2, u the levels
//                             (Song et al., "Lifted Structured Feature Embedding", CVPR 2016, eq. 4)
//   reduction  sum, 0 of no pairs       logsumexp, -inf of no pairs
//              max, -inf of no pairs    min, +inf of no pairs       none: the term is not computed
//
// A row whose label is 0 belongs to no pair. Where there are levels, a pair counts only if not t <= its row's
// level; `lifted` takes the levels as u and counts all. A NaN among the pairs that count makes the number
// NaN.
#pragma once
namespace fslcore {

enum class PairGroup { kPositive, kNegative, kAll };
enum class PairFunction { kLinear, kHinge, kSquaredHinge, kSoftplus, kCircle, kLifted };
enum class PairReduction { kNone, kSum, kLogSumExp, kMax, kMin };

// How y relates to x.
enum class PairRows {
  kBatch,    // y is x, and a row forms no pair with itself
  kApart,    // two arrays
  kLeading,  // the first rows of y are those of x, and a row forms no pair with itself
};

inline constexpr int kPairTerms = 2;       // of one pass over the pairs
inline constexpr int kPairParameters = 4;  // scale, offset, gain, shift
inline constexpr int kMostPairLevels = 8;  // of a row, in sums over pairs

struct PairTerm {
  PairGroup pairs = PairGroup::kAll;
  PairFunction function = PairFunction::kLinear;
  PairReduction reduction = PairReduction::kNone;
};

struct PairParameters {
  float scale, offset, gain, shift;
};

constexpr bool IsExtreme(PairReduction reduction) {
  return reduction == PairReduction::kMax || reduction == PairReduction::kMin;
}

}  // namespace fslcore
