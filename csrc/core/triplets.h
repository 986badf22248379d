// SPDX-License-Identifier: MIT
// Semi-hard triplet mining and the triplet loss on it, as TensorFlow Addons and keras-fsl define them
// (Schroff, Kalenichenko and Philbin, "FaceNet", CVPR 2015, section 3.2).
//
// For every ordered pair (anchor, positive) of one class, D the distance matrix of the batch:
//   negative = the nearest n of another class with D[a, n] > D[a, p], strictly; if there is none, the
//   farthest; of equal distances, the lowest index. NaN distances are never chosen while another is there.
//   term = max(D[a, p] - D[a, n] + margin, 0),   loss = the mean of the terms.
// A batch without such pairs, or with one class only, has loss 0, gradient 0 and no pairs. Negatives are
// selected on the Gram kernel's distances; the terms are evaluated again as sum (x - y)^2.
//
// Memory: O(batch * dim + pairs). The distance matrix is never held: each block of rows is mined as it is
// made.
#pragma once
#include <string>

#include "core/metric.h"
#include "core/parallel.h"
#include "core/views.h"

namespace fslcore {

std::string CheckTriplets(Metric metric, Matrix<const float> x, int64_t labels);

// The number of (anchor, positive) pairs that have a negative.
int64_t CountPairs(Vector<const int64_t> labels);

// Writes CountPairs(labels) entries to each, by anchor, then by positive.
void MineSemihard(const Executor& executor, Metric metric, Matrix<const float> x,
                  Vector<const int64_t> labels, int32_t* anchor, int32_t* positive, int32_t* negative);

struct TripletLoss {
  float loss;
  int64_t pairs;
};

// grad [batch, dim] = d loss / d x.
TripletLoss TripletSemihard(const Executor& executor, Metric metric, float margin, Matrix<const float> x,
                            Vector<const int64_t> labels, float* grad);

}  // namespace fslcore
