// SPDX-License-Identifier: MIT
// The metrics of pairs of rows and their derivatives in double precision, by plain loops.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/pairwise/metric.h"

namespace fslcore {

inline std::vector<Metric> AllMetrics() {
  std::vector<Metric> metrics;
  for (size_t i = 0; i < kMetricNames.size(); ++i) metrics.push_back(static_cast<Metric>(i));
  return metrics;
}

struct PairSums {
  double sum = 0, magnitudes = 0;  // of the metric's terms; of euclidean and cosine the squared distance
  double squares_x = 0, squares_y = 0, product = 0;
};

// weights is read for weighted_manhattan only.
inline PairSums SumsOfPair(Metric metric, const float* x, const float* y, int64_t dim, const float* weights) {
  PairSums pair;
  for (int64_t d = 0; d < dim; ++d) {
    const double a = x[d], b = y[d], difference = a - b;
    double term = difference * difference;
    if (metric == Metric::kDot) term = a * b;
    if (metric == Metric::kManhattan) term = std::fabs(difference);
    if (metric == Metric::kWeightedManhattan) term = weights[d] * std::fabs(difference);
    if (metric == Metric::kChebyshev) {
      pair.sum = pair.magnitudes = std::max(pair.sum, std::fabs(difference));
    } else {
      pair.sum += term;
      pair.magnitudes += std::fabs(term);
    }
    pair.squares_x += a * a, pair.squares_y += b * b, pair.product += a * b;
  }
  return pair;
}

// The derivatives of the sum by x, for a metric of the differences' magnitudes; by y they are the negatives.
inline std::vector<double> SlopesOfPair(Metric metric, const float* x, const float* y, int64_t dim,
                                        const float* weights) {
  std::vector<double> slopes(static_cast<size_t>(dim));
  const double largest = SumsOfPair(metric, x, y, dim, weights).sum;
  bool found = false;
  for (int64_t d = 0; d < dim; ++d) {
    const double sign = x[d] > y[d] ? 1.0 : x[d] < y[d] ? -1.0 : 0.0;
    slopes[static_cast<size_t>(d)] = metric == Metric::kWeightedManhattan ? weights[d] * sign : sign;
    // Of the coordinates that differ most only the first counts.
    if (metric != Metric::kChebyshev) continue;
    if (found || std::fabs(double{x[d]} - double{y[d]}) != largest)
      slopes[static_cast<size_t>(d)] = 0.0;
    else
      found = true;
  }
  return slopes;
}

}  // namespace fslcore
