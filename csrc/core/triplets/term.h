// SPDX-License-Identifier: MIT
// The term of one triplet and its slopes, for the C++ core and the CUDA kernels (triplets.h has the loss).
#pragma once
#include "core/arrays/host_device.h"
#include "core/pairwise/distance.h"

namespace fslcore {

// The distance of two rows and the factor of its gradient with respect to the first: d/dx = slope * (x - y).
struct SlopedDistance {
  float value, slope;
};

// The distance of two rows, normalised ones for cosine, by squared = |x - y|^2. For cosine a zero row is at
// distance 1 from everything. The slope at distance 0 is 0 for euclidean.
FSLCORE_HOST_DEVICE static inline SlopedDistance DistanceOfSquare(Metric metric, float squared,
                                                                  bool has_zero_row) {
  if (metric == Metric::kCosine && has_zero_row) return {1.0f, 0.0f};
  const float value = MetricOfSquare(metric, squared);
  if (metric == Metric::kSqeuclidean) return {value, 2.0f};
  if (metric == Metric::kCosine) return {value, 1.0f};
  return {value, value == 0.0f ? 0.0f : 1.0f / value};
}

// max(D[anchor, positive] - D[anchor, negative] + margin, 0) and the slopes of its two distances. All are 0
// for a triplet that is not active; one whose term is NaN is active.
struct TripletTerm {
  float value, toward_positive, from_negative;
  bool active;
};

FSLCORE_HOST_DEVICE static inline TripletTerm TermOf(const SlopedDistance& positive,
                                                     const SlopedDistance& negative, float margin) {
  const float value = positive.value - negative.value + margin;
  const bool active = !(value <= 0.0f);
  return {active ? value : 0.0f, active ? positive.slope : 0.0f, active ? negative.slope : 0.0f, active};
}

}  // namespace fslcore
