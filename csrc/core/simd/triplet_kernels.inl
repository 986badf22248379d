// SPDX-License-Identifier: MIT
// Triplet mining: searches in tiles and in rows of distances, and sums over lists of rows.
#pragma once
#include "core/simd/beyond_kernels.inl"
#include "core/simd/row_kernels.inl"

// The first index at which distances[i] == value, or -1 (also for a NaN value).
int64_t FirstEqual(const float* distances, int64_t n, float value) {
  const Vec wanted = Set(value);
  for (int64_t i = 0; i < n; i += kLanes)
    if (const uint32_t hits = Bits(Equal(Load(distances + i), wanted))) return i + __builtin_ctz(hits);
  return -1;
}

int64_t Farthest(const float* distances, int64_t n) {
  Vec best = Set(-__builtin_inff());
  for (int64_t i = 0; i < n; i += kLanes) best = Max(Load(distances + i), best);  // a NaN keeps `best`
  return FirstEqual(distances, n, -Least(Sub(Set(0.0f), best)));
}

// `value` is the least distance above the threshold, or infinity if there is none; an infinite distance above
// a finite threshold counts.
inline int64_t FirstAbove(const float* distances, int64_t n, float threshold, float value) {
  return threshold < value ? FirstEqual(distances, n, value) : -1;
}

// Thresholds per pass over the row: four minima hide the latency of each, and with their limits fit 16
// registers.
constexpr int kThresholds = 4;

void NearestAbove(const float* distances, int64_t n, const float* thresholds, int64_t count,
                  int32_t* nearest) {
  for (int64_t first = 0; first < count; first += kThresholds) {
    const int64_t present = count - first < kThresholds ? count - first : kThresholds;
    Vec limits[kThresholds], best[kThresholds];
    for (int t = 0; t < kThresholds; ++t) {
      limits[t] = Set(t < present ? thresholds[first + t] : __builtin_inff());
      best[t] = Set(__builtin_inff());
    }
    for (int64_t i = 0; i < n; i += kLanes) {
      const Vec d = Load(distances + i);
      for (int t = 0; t < kThresholds; ++t) best[t] = MinWhere(Less(limits[t], d), d, best[t]);
    }
    float values[kThresholds];
    for (int t = 0; t < kThresholds; ++t) values[t] = Least(best[t]);
    for (int64_t t = 0; t < present; ++t)
      nearest[first + t] = static_cast<int32_t>(FirstAbove(distances, n, thresholds[first + t], values[t]));
  }
}

// How many of the thresholds are below `distance`, given the bucket that it falls into. Buckets hold a
// quarter of a threshold on average and one or two where they are dense: two steps without a branch nearly
// always do.
inline int64_t ThresholdsBelow(const DistanceGaps& gaps, int32_t bucket, float distance) {
  int64_t below = gaps.starts[bucket];
  below += gaps.thresholds[below] < distance ? 1 : 0;
  below += gaps.thresholds[below] < distance ? 1 : 0;
  if (!(gaps.thresholds[below] < distance)) return below;
  int64_t end = gaps.starts[bucket + 1];
  while (below < end) {
    const int64_t middle = (below + end) / 2;
    if (gaps.thresholds[middle] < distance)
      below = middle + 1;
    else
      end = middle;
  }
  return below;
}

inline void KeepLeast(uint64_t* least, uint64_t key) { *least = key < *least ? key : *least; }

// Distances beyond the last threshold, most of them once classes are apart, are handled as vectors. NaN and
// what is below the first threshold land in the gap before it, which is never read.
void NearestInGaps(const float* distances, int64_t n, const DistanceGaps& gaps) {
  const Vec low = Set(gaps.low), high = Set(gaps.high), scale = Set(gaps.scale), last = Set(gaps.last);
  Vec beyond = Set(__builtin_inff());
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec d = Load(distances + i);
    const Mask above = Less(high, d);
    beyond = MinWhere(above, d, beyond);
    if (!(Bits(Less(low, d)) & ~Bits(above))) continue;
    int32_t buckets[kLanes];
    StoreTruncated(buckets, Min(Max(Mul(Sub(d, low), scale), Set(0.0f)), last));
    for (int lane = 0; lane < kLanes; ++lane) {
      const float distance = distances[i + lane];
      KeepLeast(gaps.nearest + ThresholdsBelow(gaps, buckets[lane], distance),
                NearestKey(FloatBits(distance), i + lane));
    }
  }
  const float value = Least(beyond);
  const int64_t index = FirstAbove(distances, n, gaps.high, value);
  if (index >= 0)
    KeepLeast(gaps.nearest + gaps.starts[static_cast<int64_t>(gaps.last) + 1],
              NearestKey(FloatBits(value), index));
}

// Rows of a list that are summed at once, each in the order of SquaredDistance.
constexpr int kListed = 4;

void SquaredDistances(const float* x, const float* rows, int64_t dim, const int32_t* listed, int64_t count,
                      float* out) {
  int64_t k = 0;
  for (; k + kListed <= count; k += kListed) {
    const float* y[kListed];
    Vec sums[kListed];
    for (int r = 0; r < kListed; ++r) y[r] = rows + listed[k + r] * dim, sums[r] = Set(0.0f);
    int64_t i = 0;
    for (; i + kLanes <= dim; i += kLanes)
      for (int r = 0; r < kListed; ++r) {
        const Vec d = Sub(Load(x + i), Load(y[r] + i));
        sums[r] = Fma(d, d, sums[r]);
      }
    if (i < dim)
      for (int r = 0; r < kListed; ++r) {
        const Vec d = Sub(LoadPartial(x + i, dim - i), LoadPartial(y[r] + i, dim - i));
        sums[r] = Fma(d, d, sums[r]);
      }
    for (int r = 0; r < kListed; ++r) out[k + r] = Sum(sums[r]);
  }
  for (; k < count; ++k) out[k] = SquaredDistance(x, rows + listed[k] * dim, dim);
}

// One list of rows with their weights.
struct WeightedRows {
  const float* rows;
  int64_t dim;
  const int32_t* listed;
  const float* weights;
  int64_t count;
};

// kWidth vectors of columns, the sums in registers over the whole list.
template <int kWidth>
void DifferenceColumns(const WeightedRows& w, const float* x, float* out) {
  Vec own[kWidth], sums[kWidth];
  for (int v = 0; v < kWidth; ++v) own[v] = Load(x + v * kLanes), sums[v] = Set(0.0f);
  for (int64_t k = 0; k < w.count; ++k) {
    const float* y = w.rows + w.listed[k] * w.dim;
    const Vec weight = Set(w.weights[k]);
    for (int v = 0; v < kWidth; ++v) sums[v] = Fma(weight, Sub(own[v], Load(y + v * kLanes)), sums[v]);
  }
  for (int v = 0; v < kWidth; ++v) Store(out + v * kLanes, sums[v]);
}

void LastDifferenceColumns(const WeightedRows& w, const float* x, int64_t columns, float* out) {
  const Vec own = LoadPartial(x, columns);
  Vec sum = Set(0.0f);
  for (int64_t k = 0; k < w.count; ++k) {
    const Vec d = Sub(own, LoadPartial(w.rows + w.listed[k] * w.dim, columns));
    sum = Fma(Set(w.weights[k]), d, sum);
  }
  StorePartial(out, sum, columns);
}

// Twice this many registers hold the columns of x and their sums.
constexpr int kColumnVecs = kLanes == 16 ? 8 : 4;

void WeightedDifferences(const float* x, const float* rows, int64_t dim, const int32_t* listed,
                         const float* weights, int64_t count, float* out) {
  for (int64_t c = 0; c < dim;) {
    const WeightedRows w = {rows + c, dim, listed, weights, count};
    if (const int64_t left = dim - c; left >= kColumnVecs * kLanes) {
      DifferenceColumns<kColumnVecs>(w, x + c, out + c);
      c += kColumnVecs * kLanes;
    } else if (left >= 2 * kLanes) {
      DifferenceColumns<2>(w, x + c, out + c);
      c += 2 * kLanes;
    } else if (left >= kLanes) {
      DifferenceColumns<1>(w, x + c, out + c);
      c += kLanes;
    } else {
      LastDifferenceColumns(w, x + c, left, out + c);
      c = dim;
    }
  }
}

constexpr TripletKernels MakeTripletKernels() {
  TripletKernels k = {};
  k.nearest_beyond = NearestBeyond;
  k.farthest = Farthest;
  k.nearest_above = NearestAbove;
  k.nearest_in_gaps = NearestInGaps;
  k.squared_distances = SquaredDistances;
  k.weighted_differences = WeightedDifferences;
  return k;
}
