// SPDX-License-Identifier: MIT
// Triplets of a batch and the triplet loss on them, D the distance matrix of the batch:
//   term = max(D[anchor, positive] - D[anchor, negative] + margin, 0),   loss = the mean of the terms.
//
// The rules of mining, by their names:
// - semihard, as TensorFlow Addons and keras-fsl define it (Schroff, Kalenichenko and Philbin, "FaceNet",
//   CVPR 2015, section 3.2): a triplet for every ordered pair (anchor, positive) of one class, with the
//   nearest n of another class with D[anchor, n] > D[anchor, positive], strictly; if there is none, with the
//   farthest.
// - hard (Hermans, Beyer and Leibe, "In Defense of the Triplet Loss", 2017, eq. 5): a triplet for every
//   anchor, with its farthest positive and its nearest negative.
// - easy_positive (Xuan, Stylianou and Pless, "Improved Embeddings with Easy Positive Triplet Mining", WACV
//   2020): the same with its nearest positive.
//
// Of equal distances the lowest index is chosen, and NaN only if all are NaN. A batch without two
// samples of one class, or with one class only, has loss 0, gradient 0 and no pairs. The pairwise
// kernels' distances select; the terms are evaluated again as sum (x - y)^2.
//
// Memory: O(batch * dim), of a rule of pairs O(batch * dim + pairs). The distance matrix is never held: each
// part of it is searched as it is made.
#pragma once
#include <array>
#include <string>
#include <string_view>

#include "core/arrays/host_device.h"
#include "core/arrays/sizes.h"
#include "core/arrays/views.h"
#include "core/pairwise/metric.h"
#include "core/threads/parallel.h"

namespace fslcore {

enum class Mining { kSemihard, kHard, kEasyPositive };

inline constexpr std::array<std::string_view, 3> kMiningNames = {"semihard", "hard", "easy_positive"};

inline constexpr const auto& NamesOf(Mining) { return kMiningNames; }

// Whether a rule has a triplet for every (anchor, positive) pair; the others have one for every anchor, and
// choose its positive.
FSLCORE_HOST_DEVICE constexpr bool IsOfPairs(Mining mining) { return mining == Mining::kSemihard; }

// The metrics that triplets are chosen by.
inline constexpr std::array<Metric, 3> kTripletMetrics = {Metric::kSqeuclidean, Metric::kEuclidean,
                                                          Metric::kCosine};

// An error message if the arguments do not fit together, empty otherwise.
std::string CheckTriplets(Metric metric, const Sizes& x, const Sizes& labels);

// How many triplets there are: (anchor, positive) pairs, or anchors that have a positive. None if there is
// one class only.
int64_t CountTriplets(Mining mining, Vector<const int64_t> labels);

// Writes CountTriplets entries to each list, in the order of anchors, then of positives.
void MineTriplets(const Executor& executor, Mining mining, Metric metric, Matrix<const float> x,
                  Vector<const int64_t> labels, int32_t* anchor, int32_t* positive, int32_t* negative);

struct TripletLoss {
  float loss;
  int64_t triplets;
};

// grad [batch, dim] = d loss / d x.
TripletLoss TripletLossAndGrad(const Executor& executor, Mining mining, Metric metric, float margin,
                               Matrix<const float> x, Vector<const int64_t> labels, float* grad);

}  // namespace fslcore
