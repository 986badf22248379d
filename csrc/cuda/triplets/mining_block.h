// SPDX-License-Identifier: MIT
// How a block searches the negatives of a tile of anchors: the limits of each anchor are sorted in shared
// memory, the tiles of its distances pass by in registers, and what beats the best so far is taken by an
// atomic minimum of keys. Nothing depends on the order in which candidates come.
#pragma once
#include "cuda/triplets/mining.h"

namespace fslcore::cuda::mining {

// kNearest, for rules with a triplet for each anchor: the nearest negative, and the positive that the rule
// chooses.
// kFew, kMany, for the rule of pairs: the nearest negatives beyond the distances to up to MostLimits
// positives in a round, and the farthest negative. Few limits are each compared with every candidate; in many
// its place is searched.
enum class Search { kNearest, kFew, kMany };

// With 112 limits two blocks fit the 227 KB of shared memory of a multiprocessor.
__host__ __device__ constexpr int MostLimits(Search search) {
  return search == Search::kNearest ? 1 : search == Search::kFew ? 8 : 112;
}

constexpr uint32_t kInfinityBits = 0x7f800000;  // the last distance that counts: NaN has larger bits
constexpr Key kIndexBits = 0xffffffff;

__device__ inline Key KeyOf(uint32_t distance_bits, int64_t index) {
  return Key{distance_bits} << 32 | static_cast<Key>(index);
}
__device__ inline Key FarKeyOf(uint32_t distance_bits, int64_t index) {  // 0 is below all of them
  return KeyOf(distance_bits, static_cast<int64_t>(kIndexBits) - index);
}
__device__ inline uint32_t DistanceBits(Key key) { return static_cast<uint32_t>(key >> 32); }
__device__ inline int32_t IndexOf(Key key) { return static_cast<int32_t>(key & kIndexBits); }
__device__ inline int32_t FarIndexOf(Key key) {
  return static_cast<int32_t>(kIndexBits - (key & kIndexBits));
}

// What a limit starts with: no index, and a distance that everything beyond the limit comes before. A limit
// of infinity has nothing beyond it; its own bits are above the bits of infinity, so that differences of bits
// to the limit never wrap around.
__device__ inline Key NothingBeyond(uint32_t limit) {
  return KeyOf(limit == kInfinityBits ? kInfinityBits + 1 : kInfinityBits, static_cast<int64_t>(kIndexBits));
}

// Stands for a distance that is not there.
__device__ inline float NoNumber() { return __uint_as_float(0x7fffffff); }

// Other threads may take candidates meanwhile. An old key only lets more through.
__device__ inline Key Current(const Key& key) { return *const_cast<const volatile Key*>(&key); }

// The work of a block: a tile of anchors, a round of their positives.
struct Item {
  int64_t tile, round;
  int64_t first_column, last_column;  // in tiles
  int64_t blocks;                     // that share the columns

  __device__ int64_t first_place() const { return tile * kTileRows; }
};

// An odd number of elements from anchor to anchor: the four of a warp are in different banks.
template <Search kSearch>
struct BlockState {
  static constexpr int kLimits = MostLimits(kSearch), kStride = kLimits + 1 - kLimits % 2;

  TileBuffers buffers;
  Key nearest[kTileRows][kStride];      // of the limits; at the end negatives, and the slopes from them
  Key farthest[kTileRows];              // negative or, for kNearest, the positive with the largest key
  uint32_t limits[kTileRows][kStride];  // bits, increasing; at the end the slopes toward the positives
  double sums[kTileThreads / 32];
  float squares[kTileRows];
  int32_t begin[kTileRows], end[kTileRows];  // places of the anchor's class
  int32_t count[kTileRows];                  // limits
  uint8_t order[kTileRows][kLimits];         // which of the round's positives a limit belongs to
  Item item;
  int width;  // the most limits of an anchor
  int near[2];
  int last;
};

// The place of the i-th positive of the round.
template <Search kSearch>
__device__ int64_t PositivePlace(const BlockState<kSearch>& s, int a, int i) {
  const int64_t place = s.begin[a] + s.item.round * BlockState<kSearch>::kLimits + i;
  return place + (place >= s.item.first_place() + a ? 1 : 0);
}

template <Search kSearch>
__device__ void DescribeAnchors(const SearchedBatch& batch, BlockState<kSearch>& s) {
  const int a = static_cast<int>(threadIdx.x);
  if (a == 0) {
    const int64_t left = kSearch == Search::kNearest
                             ? 1
                             : batch.positives[s.item.tile] - s.item.round * BlockState<kSearch>::kLimits;
    s.width = static_cast<int>(left < BlockState<kSearch>::kLimits ? left : BlockState<kSearch>::kLimits);
    s.near[0] = s.near[1] = 0;
  }
  if (a >= kTileRows) return;
  const int64_t place = s.item.first_place() + a;
  const bool real = place < RealRows(batch.rows, batch.n);
  const int32_t c = real ? batch.classes.class_of[batch.classes.members[place]] : 0;
  s.begin[a] = real ? batch.classes.offsets[c] : 0;
  s.end[a] = real ? batch.classes.offsets[c + 1] : 0;
  const int64_t positives = real ? s.end[a] - s.begin[a] - 1 : 0;
  const int64_t limits = kSearch == Search::kNearest
                             ? (positives > 0 ? 1 : 0)
                             : positives - s.item.round * BlockState<kSearch>::kLimits;
  s.count[a] = static_cast<int32_t>(limits < 0                              ? 0
                                    : limits < BlockState<kSearch>::kLimits ? limits
                                                                            : BlockState<kSearch>::kLimits);
  s.squares[a] = batch.columns.squares[place];
  s.farthest[a] = 0;
}

// The bits of the distance of a pair; infinity for NaN, for nothing is beyond either.
template <Metric kMetric>
__device__ uint32_t LimitBits(const Columns& x, int64_t a, int64_t b, float product) {
  bool near;
  float distance = DistanceByProduct<kMetric>(product, x.squares[a] + x.squares[b], near);
  if (near) distance = MetricOfSquare(kMetric, SumPair<Summed::kSquaredDifferences>(x, a, b));
  return distance <= __uint_as_float(kInfinityBits) ? __float_as_uint(distance) : kInfinityBits;
}

// The distances to the round's positives, with their numbers, to where the nearest negatives will be. A
// thread has four positives of one anchor, its neighbours those beside them.
template <Metric kMetric, Search kSearch>
__device__ void FindLimits(const SearchedBatch& batch, BlockState<kSearch>& s) {
  constexpr int kTogether = 4, kApart = BlockState<kSearch>::kLimits / kTogether;
  const Columns& x = batch.columns;
  for (int unit = static_cast<int>(threadIdx.x); unit < kTileRows * kApart; unit += kTileThreads) {
    const int a = unit / kApart, first = unit % kApart;
    if (first >= s.count[a]) continue;
    const int64_t anchor = s.item.first_place() + a;
    int64_t places[kTogether];
    float products[kTogether] = {};
    for (int j = 0; j < kTogether; ++j) {
      const int i = first + j * kApart;
      places[j] = i < s.count[a] ? PositivePlace(s, a, i) : anchor;
    }
    for (int64_t k = 0; k < x.depth; ++k) {
      const float* coordinates = x.data + k * x.stride;
      const float of_anchor = coordinates[anchor];
      for (int j = 0; j < kTogether; ++j)
        products[j] = AddCoordinate<Summed::kProducts>(of_anchor, coordinates[places[j]], products[j]);
    }
    for (int j = 0; j < kTogether; ++j) {
      const int i = first + j * kApart;
      if (i < s.count[a]) s.nearest[a][i] = KeyOf(LimitBits<kMetric>(x, anchor, places[j], products[j]), i);
    }
  }
}

// By counting, for each, how many come before it: no more work than a tile of distances.
template <Search kSearch>
__device__ void SortLimits(BlockState<kSearch>& s) {
  constexpr int kLimits = BlockState<kSearch>::kLimits;
  for (int unit = static_cast<int>(threadIdx.x); unit < kTileRows * kLimits; unit += kTileThreads) {
    const int a = unit / kLimits, i = unit % kLimits;
    if (i >= s.count[a]) {
      s.limits[a][i] = kInfinityBits;
      continue;
    }
    const Key key = s.nearest[a][i];
    int before = 0;
    for (int j = 0; j < s.count[a]; ++j) before += s.nearest[a][j] < key ? 1 : 0;
    s.limits[a][before] = DistanceBits(key);
    s.order[a][before] = static_cast<uint8_t>(i);
  }
}

// One before the bits of 0: everything is beyond it.
constexpr uint32_t kNoLimit = ~uint32_t{0};

template <Metric kMetric, Search kSearch>
__device__ void PrepareLimits(const SearchedBatch& batch, BlockState<kSearch>& s) {
  constexpr int kLimits = BlockState<kSearch>::kLimits;
  const int t = static_cast<int>(threadIdx.x);
  if constexpr (kSearch == Search::kNearest) {
    if (t < kTileRows) s.limits[t][0] = s.count[t] > 0 ? kNoLimit : kInfinityBits;
  } else {
    FindLimits<kMetric>(batch, s);
    __syncthreads();
    SortLimits(s);
  }
  __syncthreads();
  for (int unit = t; unit < kTileRows * kLimits; unit += kTileThreads)
    s.nearest[unit / kLimits][unit % kLimits] = NothingBeyond(s.limits[unit / kLimits][unit % kLimits]);
}

// How many of the anchor's limits are below the distance; none below NaN.
template <Search kSearch>
__device__ __forceinline__ int LimitsBelow(const BlockState<kSearch>& s, int a, float distance) {
  int below = 0;
  for (int length = s.width; length > 1; length -= length / 2)
    below += __uint_as_float(s.limits[a][below + length / 2 - 1]) < distance ? length / 2 : 0;
  return below + (__uint_as_float(s.limits[a][below]) < distance ? 1 : 0);
}

// Offers a distance of the anchor to each of its limits.
template <Search kSearch>
__device__ __forceinline__ void Offer(const SearchedBatch& batch, int a, int64_t place, float distance,
                                      BlockState<kSearch>& s) {
  if (!(distance <= __uint_as_float(kInfinityBits))) return;
  const uint32_t bits = __float_as_uint(distance);
  const int32_t index = batch.classes.members[place];
  const Key key = KeyOf(bits, index);
  if constexpr (kSearch == Search::kMany) {
    const int below = LimitsBelow(s, a, distance);
    if (below > 0) atomicMin(&s.nearest[a][below - 1], key);
  } else {
    for (int l = 0; l < s.width; ++l) {
      const uint32_t beyond = s.limits[a][l] + 1;
      if (bits >= beyond && key < Current(s.nearest[a][l])) atomicMin(&s.nearest[a][l], key);
    }
  }
  if constexpr (kSearch != Search::kNearest) atomicMax(&s.farthest[a], FarKeyOf(bits, index));
}

// Which of the thread's distances of a row (a bit for each) may be nearer than the best so far. Most tiles
// have none; one comparison for all columns detects that.
template <Search kSearch>
__device__ __forceinline__ unsigned News(const BlockState<kSearch>& s, int a,
                                         const float (&distances)[kPerSide]) {
  unsigned news = 0;
  if constexpr (kSearch == Search::kMany) {
    int below[kPerSide] = {};
    for (int length = s.width; length > 1; length -= length / 2) FSLCORE_UNROLL
    for (int c = 0; c < kPerSide; ++c)
      below[c] += __uint_as_float(s.limits[a][below[c] + length / 2 - 1]) < distances[c] ? length / 2 : 0;
    FSLCORE_UNROLL
    for (int c = 0; c < kPerSide; ++c) {
      below[c] += __uint_as_float(s.limits[a][below[c]]) < distances[c] ? 1 : 0;
      if (below[c] > 0 && __float_as_uint(distances[c]) <= DistanceBits(Current(s.nearest[a][below[c] - 1])))
        news |= 1u << c;
    }
  } else {
    for (int l = 0; l < s.width; ++l) {
      const uint32_t beyond = s.limits[a][l] + 1, excess = DistanceBits(Current(s.nearest[a][l])) - beyond;
      uint32_t least = ~uint32_t{0};
      FSLCORE_UNROLL
      for (int c = 0; c < kPerSide; ++c) {
        const uint32_t e = __float_as_uint(distances[c]) - beyond;
        least = e < least ? e : least;
      }
      if (least > excess) continue;
      FSLCORE_UNROLL
      for (int c = 0; c < kPerSide; ++c)
        news |= __float_as_uint(distances[c]) - beyond <= excess ? 1u << c : 0u;
    }
  }
  if constexpr (kSearch != Search::kNearest) {
    float most = -1.0f;
    FSLCORE_UNROLL
    for (int c = 0; c < kPerSide; ++c) most = fmaxf(most, distances[c]);  // not NaN
    if (most >= __uint_as_float(DistanceBits(Current(s.farthest[a])))) FSLCORE_UNROLL
    for (int c = 0; c < kPerSide; ++c) news |= distances[c] == most ? 1u << c : 0u;
  }
  return news;
}

// The thread's distance of a row at a column: registers have no index.
__device__ __forceinline__ float Select(const float (&distances)[kPerSide], int c) {
  float distance = distances[0];
  FSLCORE_UNROLL
  for (int i = 1; i < kPerSide; ++i) distance = i == c ? distances[i] : distance;
  return distance;
}

}  // namespace fslcore::cuda::mining
