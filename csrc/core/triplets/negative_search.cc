// SPDX-License-Identifier: MIT
#include "core/triplets/negative_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "core/arrays/rounding.h"

namespace fslcore {
namespace {

// A pass over a row of 4096 takes 1 us for four positives, the buckets 9 us and 20 ns for each positive: they
// meet at some 50.
constexpr int64_t kMostScannedPositives = 48;

// With more distances than that in a bucket they are sorted.
constexpr int32_t kCrowded = 48;

// As floats, numbers of buckets are exact.
constexpr int64_t kMostBuckets = 1 << 20;

// Positives of which the steps of the buckets are made.
constexpr int64_t kSampled = 32;

// Half as many buckets as there are candidates. Their steps cover the middle of the positives and half as
// much on both sides: a few far ones would have all others share a few buckets. Nothing is beyond infinity
// and NaN.
simd::DistanceBuckets BucketsFor(const float* positives, int64_t count, int64_t n) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  simd::DistanceBuckets buckets = {kInfinity, -1.0f, 0.0f, 0.0f, 0.0f};
  float sample[kSampled];
  int64_t sampled = 0;
  const int64_t step = DivideUp(count, kSampled);
  for (int64_t i = 0; i < count; ++i) {
    if (!(positives[i] < kInfinity)) continue;
    buckets.low = std::min(buckets.low, positives[i]);
    buckets.high = std::max(buckets.high, positives[i]);
    if (i % step == 0) sample[sampled++] = positives[i];
  }
  if (buckets.high < 0.0f) return buckets;
  std::sort(sample, sample + sampled);
  const int64_t ends = sampled > 8 ? 1 : 0;
  const float low = sampled > 0 ? sample[ends] : buckets.low;
  const float high = sampled > 0 ? sample[sampled - 1 - ends] : buckets.high;
  buckets.first = std::max(buckets.low, low - 0.5f * (high - low));
  buckets.last = static_cast<float>(std::min<int64_t>(n / 2, kMostBuckets));
  buckets.scale = buckets.last / (std::min(buckets.high, high + 0.5f * (high - low)) - buckets.first);
  return buckets;
}

}  // namespace

void NegativeSearch::Find(const float* distances, int64_t n, const float* positives, int64_t count,
                          int32_t* negatives) {
  if (count <= kMostScannedPositives)
    simd::Triplets().nearest_above(distances, n, positives, count, negatives);
  else
    FindInBuckets(distances, n, positives, count, negatives);
  if (std::find(negatives, negatives + count, -1) == negatives + count) return;
  std::replace(negatives, negatives + count, -1,
               static_cast<int32_t>(simd::Triplets().farthest(distances, n)));
}

// A counting sort, of the stretches of distances of which one has a bucket.
void NegativeSearch::Place(const float* distances, int64_t stretches) {
  const int64_t placed = stretches * simd::kRowPadding, buckets = static_cast<int64_t>(starts_.size()) - 2;
  const int32_t* bucket_of = bucket_of_.data();
  int32_t* next = starts_.data() + 1;  // of a bucket: where its next distance goes, and its end afterwards
  for (int64_t i = 0; i < placed; ++i) ++next[bucket_of[i]];
  int32_t end = 0, fullest = 0;
  for (int64_t b = 0; b <= buckets; ++b) {
    fullest = b < buckets ? std::max(fullest, next[b]) : fullest;
    end += std::exchange(next[b], end);
  }
  float* sorted = sorted_.data();
  int32_t* indices = indices_.data();
  for (int64_t s = 0; s < stretches; ++s)
    for (int64_t i = 0; i < simd::kRowPadding; ++i) {
      const int64_t index = stretch_[static_cast<size_t>(s)] + i;
      const int32_t at = next[bucket_of[s * simd::kRowPadding + i]]++;
      sorted[at] = distances[index];
      indices[at] = static_cast<int32_t>(index);
    }
  const int32_t count = starts_[static_cast<size_t>(buckets)];
  std::fill_n(sorted + count, simd::kBucketWindow, std::numeric_limits<float>::quiet_NaN());
  if (fullest <= kCrowded) return;
  for (int64_t b = 0; b < buckets; ++b) {
    const int32_t begin = starts_[static_cast<size_t>(b)], size = next[b] - begin;
    if (size <= kCrowded) continue;
    crowded_.resize(static_cast<size_t>(size));
    for (int32_t i = 0; i < size; ++i)
      crowded_[static_cast<size_t>(i)] = {sorted[begin + i], indices[begin + i]};
    std::sort(crowded_.begin(), crowded_.end());
    for (int32_t i = 0; i < size; ++i)
      std::tie(sorted[begin + i], indices[begin + i]) = crowded_[static_cast<size_t>(i)];
  }
}

// The place of the nearest distance beyond the positive, from its own bucket on; -1 if there is none.
int32_t NegativeSearch::FindFrom(const simd::DistanceBuckets& buckets, float positive) const {
  const float step = (positive - buckets.first) * buckets.scale;
  auto b = static_cast<size_t>(step > 0.0f ? std::min(step, buckets.last) : 0.0f);
  for (; b + 2 < starts_.size(); ++b) {
    const int32_t begin = starts_[b], end = starts_[b + 1];
    if (end - begin > kCrowded) {
      const auto first = sorted_.begin() + begin, last = sorted_.begin() + end;
      const auto found = std::upper_bound(first, last, positive);
      if (found != last) return static_cast<int32_t>(found - sorted_.begin());
      continue;
    }
    int32_t best = -1;
    for (int32_t i = begin; i < end; ++i)
      if (sorted_[static_cast<size_t>(i)] > positive &&
          (best < 0 || sorted_[static_cast<size_t>(i)] < sorted_[static_cast<size_t>(best)]))
        best = i;
    if (best >= 0) return best;
  }
  return -1;
}

void NegativeSearch::FindInBuckets(const float* distances, int64_t n, const float* positives, int64_t count,
                                   int32_t* negatives) {
  const simd::DistanceBuckets buckets = BucketsFor(positives, count, n);
  if (buckets.high < 0.0f) {
    std::fill_n(negatives, count, -1);
    return;
  }
  bucket_of_.resize(static_cast<size_t>(n));
  stretch_.resize(static_cast<size_t>(n / simd::kRowPadding));
  starts_.assign(static_cast<size_t>(buckets.last) + 3, 0);
  sorted_.resize(static_cast<size_t>(n + simd::kBucketWindow));
  indices_.resize(static_cast<size_t>(n));
  int32_t beyond;
  const int64_t stretches =
      simd::Triplets().find_buckets(distances, n, buckets, bucket_of_.data(), stretch_.data(), &beyond);
  Place(distances, stretches);
  const simd::BucketedDistances placed = {sorted_.data(), indices_.data(), starts_[starts_.size() - 2],
                                          starts_.data(), beyond};
  simd::Triplets().nearest_in_buckets(buckets, placed, positives, count, negatives);
  for (int64_t i = 0; i < count; ++i) {
    if (!(positives[i] < std::numeric_limits<float>::infinity())) {
      negatives[i] = -1;
    } else if (negatives[i] == simd::kOutsideWindow) {
      const int32_t at = FindFrom(buckets, positives[i]);
      negatives[i] = at < 0 ? beyond : indices_[static_cast<size_t>(at)];
    }
  }
}

}  // namespace fslcore
