// SPDX-License-Identifier: MIT
// The search for the semi-hard negatives of one anchor after another, in the row of its distances.
#pragma once
#include <cstdint>
#include <vector>

namespace fslcore {

class NegativeSearch {
 public:
  // distances [n]: a multiple of kRowPadding, each +0 or above; NaN where there is no candidate.
  // negatives[i] = the nearest candidate strictly beyond positives[i], else the farthest; the first of
  // equals; -1 if every distance is NaN.
  void Find(const float* distances, int64_t n, const float* positives, int64_t count, int32_t* negatives);

 private:
  struct Steps;
  void FindInGaps(const float* distances, int64_t n, const float* positives, int64_t count,
                  int32_t* negatives);
  int64_t SortPositives(const float* positives, int64_t count, const Steps& steps);

  std::vector<int32_t> bucket_, starts_;
  std::vector<uint64_t> sorted_, nearest_;
  std::vector<float> thresholds_;
};

}  // namespace fslcore
