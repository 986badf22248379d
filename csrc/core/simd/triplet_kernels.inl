// SPDX-License-Identifier: MIT
// Triplet mining: searches in tiles and in rows of distances, and sums over lists of rows.
#pragma once
#include "core/simd/beyond_kernels.inl"
#include "core/simd/row_kernels.inl"
#include "core/simd/tiles.inl"

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

inline Vec BucketsOf(const DistanceBuckets& b, Vec distances) {
  return Min(Max(Mul(Sub(distances, Set(b.first)), Set(b.scale)), Set(0.0f)), Set(b.last));
}

inline int64_t BucketOf(const DistanceBuckets& b, float distance) {
  const float step = (distance - b.first) * b.scale;
  return static_cast<int64_t>(step > 0.0f ? (step < b.last ? step : b.last) : 0.0f);
}

// Stretches beyond `high`, most of them once classes are apart, cost a comparison.
int64_t FindBuckets(const float* distances, int64_t n, const DistanceBuckets& b, int32_t* buckets,
                    int32_t* stretches, int32_t* beyond) {
  const Vec low = Set(b.low), high = Set(b.high), none = Set(b.last + 1.0f);
  Vec nearest = Set(__builtin_inff());
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += kRowPadding) {
    uint32_t inside = 0;
    for (int64_t j = 0; j < kRowPadding; j += kLanes) {
      const Vec d = Load(distances + i + j);
      const Mask above = Less(high, d), over_low = Less(low, d);
      nearest = MinWhere(above, d, nearest);
      StoreTruncated(buckets + j, Select(above, none, Select(over_low, BucketsOf(b, d), none)));
      inside |= Bits(over_low) & ~Bits(above);
    }
    stretches[count] = static_cast<int32_t>(i);
    if (!inside) continue;
    buckets += kRowPadding;
    ++count;
  }
  *beyond = static_cast<int32_t>(FirstAbove(distances, n, b.high, Least(nearest)));
  return count;
}

void NearestInBuckets(const DistanceBuckets& b, const BucketedDistances& all, const float* thresholds,
                      int64_t count, int32_t* nearest) {
  for (int64_t t = 0; t < count; ++t) {
    const int64_t start = all.starts[BucketOf(b, thresholds[t])];
    const float* window = all.distances + start;
    const Vec limit = Set(thresholds[t]);
    Vec best = Set(__builtin_inff());
    for (int64_t i = 0; i < kBucketWindow; i += kLanes) {
      const Vec d = Load(window + i);
      best = MinWhere(Less(limit, d), d, best);
    }
    const float value = Least(best);
    uint32_t equal = 0;
    for (int64_t i = 0; i < kBucketWindow; i += kLanes)
      equal |= Bits(Equal(Load(window + i), Set(value))) << i;
    // All of the bucket in which it lies must have been seen.
    const bool whole =
        start + kBucketWindow >= all.count || all.starts[BucketOf(b, value) + 1] <= start + kBucketWindow;
    nearest[t] = !whole ? kOutsideWindow : equal ? all.indices[start + __builtin_ctz(equal)] : all.beyond;
  }
}

// Rows of a list that are summed at once, each in the order of SquaredDistance.
constexpr int kListed = 4;

void SquaredDistances(const float* x, const float* rows, int64_t dim, const int32_t* listed, int64_t count,
                      float* out) {
  int64_t k = 0;
  for (; k + kListed <= count; k += kListed) {
    const float *y[kListed], *next[kListed];
    Vec sums[kListed];
    for (int r = 0; r < kListed; ++r) {
      y[r] = rows + listed[k + r] * dim;
      next[r] = rows + listed[k + kListed + r < count ? k + kListed + r : k + r] * dim;
      sums[r] = Set(0.0f);
    }
    int64_t i = 0;
    for (; i + kLanes <= dim; i += kLanes)
      for (int r = 0; r < kListed; ++r) {
        if (i % 16 == 0) __builtin_prefetch(next[r] + i);
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

template <int kRows>
void SquaresOfRows(const float* x, const float* others, int64_t count, int64_t dim, float* out,
                   int64_t stride) {
  for (int64_t k = 0; k < count; ++k) {
    const float* y = others + k * dim;
    Vec sums[kRows];
    for (Vec& sum : sums) sum = Set(0.0f);
    int64_t i = 0;
    for (; i + kLanes <= dim; i += kLanes) {
      const Vec other = Load(y + i);
      for (int r = 0; r < kRows; ++r) {
        const Vec d = Sub(Load(x + r * dim + i), other);
        sums[r] = Fma(d, d, sums[r]);
      }
    }
    if (i < dim) {
      const Vec other = LoadPartial(y + i, dim - i);
      for (int r = 0; r < kRows; ++r) {
        const Vec d = Sub(LoadPartial(x + r * dim + i, dim - i), other);
        sums[r] = Fma(d, d, sums[r]);
      }
    }
    for (int r = 0; r < kRows; ++r) out[r * stride + k] = Sum(sums[r]);
  }
}

void DenseSquares(const float* x, int64_t rows, const float* others, int64_t count, int64_t dim, float* out,
                  int64_t stride) {
  ForEachTile(rows, [&](auto height, int64_t row) {
    SquaresOfRows<height.value>(x + row * dim, others, count, dim, out + row * stride, stride);
  });
}

// kRows rows and one vector of columns, `columns` of which are used.
template <int kRows>
void DenseColumns(const float* x, int64_t dim, const float* panel, int64_t count, const float* weights,
                  int64_t stride, int64_t columns, float* out) {
  Vec own[kRows], sums[kRows];
  for (int r = 0; r < kRows; ++r) {
    own[r] = columns >= kLanes ? Load(x + r * dim) : LoadPartial(x + r * dim, columns);
    sums[r] = Set(0.0f);
  }
  for (int64_t k = 0; k < count; ++k) {
    const Vec other = Load(panel + k * kPanel);
    for (int r = 0; r < kRows; ++r) sums[r] = Fma(Set(weights[r * stride + k]), Sub(own[r], other), sums[r]);
  }
  for (int r = 0; r < kRows; ++r) StoreColumns(out + r * dim, sums[r], columns);
}

void DenseDifferences(const float* x, int64_t rows, int64_t dim, const float* panels, int64_t count,
                      const float* weights, int64_t stride, float* out) {
  for (int64_t c = 0; c < dim; c += kLanes) {
    const float* panel = panels + c / kPanel * kPanel * count + c % kPanel;
    ForEachTile(rows, [&](auto height, int64_t row) {
      DenseColumns<height.value>(x + row * dim + c, dim, panel, count, weights + row * stride, stride,
                                 dim - c, out + row * dim + c);
    });
  }
}

// One list of rows with their weights.
struct WeightedRows {
  const float* rows;
  int64_t dim;
  const int32_t* listed;
  const float* weights;
  int64_t count;
};

constexpr int64_t kRowsAhead = 8;  // rows of the list that are fetched before they are used
constexpr int kCacheLine = 16;

// kWidth vectors of columns, the sums in registers over the whole list.
template <int kWidth>
void DifferenceColumns(const WeightedRows& w, const float* x, float* out) {
  Vec own[kWidth], sums[kWidth];
  for (int v = 0; v < kWidth; ++v) own[v] = Load(x + v * kLanes), sums[v] = Set(0.0f);
  for (int64_t k = 0; k < w.count; ++k) {
    const float* y = w.rows + w.listed[k] * w.dim;
    const float* soon = w.rows + w.listed[k + kRowsAhead < w.count ? k + kRowsAhead : k] * w.dim;
    for (int v = 0; v < kWidth; v += kCacheLine / kLanes) __builtin_prefetch(soon + v * kLanes);
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
  k.find_buckets = FindBuckets;
  k.nearest_in_buckets = NearestInBuckets;
  k.squared_distances = SquaredDistances;
  k.weighted_differences = WeightedDifferences;
  k.dense_squares = DenseSquares;
  k.dense_differences = DenseDifferences;
  return k;
}
