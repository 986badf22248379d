// SPDX-License-Identifier: MIT
// The search for the semi-hard negatives of one anchor after another, in the row of its distances.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "core/simd/triplet_kernels.h"

namespace fslcore {

class NegativeSearch {
 public:
  // distances [n]: a multiple of kRowPadding, each +0 or above; NaN where there is no candidate.
  // negatives[i] = the nearest candidate strictly beyond positives[i], else the farthest; the first of
  // equals; -1 if every distance is NaN.
  void Find(const float* distances, int64_t n, const float* positives, int64_t count, int32_t* negatives);

 private:
  void FindInBuckets(const float* distances, int64_t n, const float* positives, int64_t count,
                     int32_t* negatives);
  void Place(const float* distances, int64_t stretches);
  int32_t FindFrom(const simd::DistanceBuckets& buckets, float positive) const;

  std::vector<int32_t> bucket_of_, stretch_, starts_, indices_;
  std::vector<float> sorted_;
  std::vector<std::pair<float, int32_t>> crowded_;  // the distances of a bucket, to be sorted
};

}  // namespace fslcore
