// SPDX-License-Identifier: MIT
#include "core/triplets/negative_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/arrays/float_bits.h"
#include "core/simd/triplet_kernels.h"

namespace fslcore {
namespace {

// A pass over a row of 4096 takes 1 us for four positives; the gaps take 18 us for 64 positives and 30 us for
// 128 or 400. The two meet between 64 and 128 positives, for rows of 512 as well.
constexpr int64_t kMostScannedPositives = 96;

// Mining is no faster with twice as many, or half as many.
constexpr int64_t kBucketsPerPositive = 4;

// Insertion sort moves an element within its bucket only. With fuller buckets std::sort is faster.
constexpr int64_t kMostInserted = 16;

float KeyDistance(uint64_t key) { return BitsFloat(static_cast<uint32_t>(key >> 32)); }

int32_t KeyIndex(uint64_t key) { return static_cast<int32_t>(key & 0xffffffffu); }

void InsertionSort(uint64_t* keys, int64_t count) {
  for (int64_t i = 1; i < count; ++i) {
    const uint64_t key = keys[i];
    int64_t at = i;
    for (; at > 0 && keys[at - 1] > key; --at) keys[at] = keys[at - 1];
    keys[at] = key;
  }
}

}  // namespace

// As many equal steps between the least and the greatest positive, in the arithmetic of nearest_in_gaps.
struct NegativeSearch::Steps {
  float low = std::numeric_limits<float>::infinity(), high = 0.0f;
  float scale, last;

  Steps(const float* positives, int64_t count) : last(static_cast<float>(kBucketsPerPositive * count - 1)) {
    for (int64_t i = 0; i < count; ++i) {
      low = positives[i] < low ? positives[i] : low;
      high = positives[i] > high ? positives[i] : high;
    }
    scale = last / (high - low);
  }
  int32_t Bucket(float distance) const {
    const float step = (distance - low) * scale;
    return static_cast<int32_t>(step > 0.0f ? (step < last ? step : last) : 0.0f);  // a NaN is 0
  }
};

void NegativeSearch::Find(const float* distances, int64_t n, const float* positives, int64_t count,
                          int32_t* negatives) {
  if (count <= kMostScannedPositives)
    simd::Triplets().nearest_above(distances, n, positives, count, negatives);
  else
    FindInGaps(distances, n, positives, count, negatives);
  if (std::find(negatives, negatives + count, -1) == negatives + count) return;
  std::replace(negatives, negatives + count, -1,
               static_cast<int32_t>(simd::Triplets().farthest(distances, n)));
}

// Sorts the positives that are not NaN by their buckets, then within them; returns their number.
int64_t NegativeSearch::SortPositives(const float* positives, int64_t count, const Steps& steps) {
  const auto buckets = static_cast<int64_t>(steps.last) + 1;
  starts_.assign(static_cast<size_t>(buckets) + 1, 0);
  bucket_.resize(static_cast<size_t>(count));
  sorted_.resize(static_cast<size_t>(count));
  int32_t* starts = starts_.data();
  int32_t* bucket = bucket_.data();
  int32_t fullest = 0;
  for (int64_t i = 0; i < count; ++i) {
    bucket[i] = std::isnan(positives[i]) ? static_cast<int32_t>(buckets) : steps.Bucket(positives[i]);
    fullest = std::max(fullest, ++starts[bucket[i]]);
  }
  int32_t end = 0;
  for (int64_t b = 0; b <= buckets; ++b) starts[b] = end += starts[b];
  for (int64_t i = 0; i < count; ++i)
    sorted_[static_cast<size_t>(--starts[bucket[i]])] = simd::NearestKey(FloatBits(positives[i]), i);

  const int64_t present = starts[buckets];
  if (fullest <= kMostInserted)
    InsertionSort(sorted_.data(), present);
  else
    std::sort(sorted_.begin(), sorted_.begin() + present);
  return present;
}

void NegativeSearch::FindInGaps(const float* distances, int64_t n, const float* positives, int64_t count,
                                int32_t* negatives) {
  const Steps steps(positives, count);
  const int64_t present = SortPositives(positives, count, steps);
  thresholds_.resize(static_cast<size_t>(present) + 1);
  for (int64_t i = 0; i < present; ++i)
    thresholds_[static_cast<size_t>(i)] = KeyDistance(sorted_[static_cast<size_t>(i)]);
  thresholds_.back() = std::numeric_limits<float>::infinity();
  nearest_.assign(static_cast<size_t>(present) + 1, simd::kNoNearest);
  simd::Triplets().nearest_in_gaps(
      distances, n,
      {steps.low, steps.high, steps.scale, steps.last, starts_.data(), thresholds_.data(), nearest_.data()});

  std::fill(negatives, negatives + count, -1);
  uint64_t nearest = simd::kNoNearest;
  for (auto i = static_cast<size_t>(present); i-- > 0;) {
    nearest = std::min(nearest, nearest_[i + 1]);
    negatives[KeyIndex(sorted_[i])] = KeyIndex(nearest);  // -1 for simd::kNoNearest
  }
}

}  // namespace fslcore
