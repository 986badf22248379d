// SPDX-License-Identifier: MIT
// The part of the search that computes distances: a block passes over the columns of its item, tile by tile.
#pragma once
#include "cuda/triplets/mining.h"
#include "cuda/triplets/mining_block.h"

namespace fslcore::cuda::mining {

// Near pairs of a tile that are evaluated one by one; with more, the tile is summed again by differences.
constexpr int kMostAlone = 64;

// A bit for each pair of a thread's part of a tile.
using Pairs = uint64_t;

__device__ __forceinline__ bool Has(Pairs pairs, int r, int c) { return pairs >> (r * kPerSide + c) & 1; }
__device__ __forceinline__ Pairs PairIf(bool condition, int r, int c) {
  return Pairs{condition} << (r * kPerSide + c);
}

// Computes the distances of the anchors of an item from its columns, tile by tile, and offers each to the
// limits of its anchor.
template <Metric kMetric, Search kSearch>
class Walk {
 public:
  __device__ Walk(const SearchedBatch& batch, BlockState<kSearch>& s)
      : batch_(batch),
        s_(s),
        tile_(static_cast<int32_t>(s.item.first_place())),
        real_(static_cast<int32_t>(RealRows(batch.rows, batch.n))) {}

  __device__ void Run() {
    for (int64_t c = s_.item.first_column; c < s_.item.last_column && c * kTileColumns < real_; ++c)
      Tile(static_cast<int32_t>(c * kTileColumns));
    __syncthreads();
  }

 private:
  // Pairs that are near each other are left out at first, and come by themselves or in a second pass.
  __device__ __forceinline__ void Tile(int32_t col) {
    float d[kPerSide][kPerSide];
    Pairs negatives = ~Pairs{0}, positives = 0;
    if (IsMixed(col)) AssignRoles(col, negatives, positives);
    SumTile<Summed::kProducts>(batch_.columns, tile_, col, s_.buffers, d);
    const Pairs near = FinishProducts(col, negatives | positives, d);
    OfferTile(col, positives, d);
    const int all = CountNear(near);
    if (all > kMostAlone) {
      SumTile<Summed::kSquaredDifferences>(batch_.columns, tile_, col, s_.buffers, d);
      FSLCORE_UNROLL
      for (int r = 0; r < kPerSide; ++r) FSLCORE_UNROLL
      for (int c = 0; c < kPerSide; ++c)
        d[r][c] = Has(near, r, c) ? MetricOfSquare(kMetric, d[r][c]) : NoNumber();
      OfferTile(col, positives, d);
    } else {
      OfferAlone(col, near, positives);
    }
  }

  // Whether there are rows of an anchor's own class among the columns, or none at all.
  __device__ bool IsMixed(int32_t col) const {
    const int32_t rows = real_ - tile_ < kTileRows ? real_ - tile_ : kTileRows;
    return (col < s_.end[rows - 1] && col + kTileColumns > s_.begin[0]) || col + kTileColumns > real_;
  }

  // Positives have a part for kNearest only: in triplets of pairs they are limits already.
  __device__ void AssignRoles(int32_t col, Pairs& negatives, Pairs& positives) const {
    negatives = 0;
    for (int i = 0; i < kPerSide * kPerSide; ++i) {
      const int r = i / kPerSide, c = i % kPerSide, a = TileRow(r);
      const int32_t place = col + TileColumn(c);
      const bool own = s_.begin[a] <= place && place < s_.end[a];
      negatives |= PairIf(place < real_ && !own, r, c);
      if (kSearch == Search::kNearest) positives |= PairIf(own && place != tile_ + a, r, c);
    }
  }

  // The products become distances, but for the pairs that are near or not wanted.
  __device__ __forceinline__ Pairs FinishProducts(int32_t col, Pairs wanted,
                                                  float (&d)[kPerSide][kPerSide]) const {
    Pairs near_pairs = 0;
    float squares[kPerSide];
    LoadGroups(batch_.columns.squares + col + TileColumn(0), kTileColumns / 2, squares);
    FSLCORE_UNROLL
    for (int r = 0; r < kPerSide; ++r) {
      const float of_row = s_.squares[TileRow(r)];
      FSLCORE_UNROLL
      for (int c = 0; c < kPerSide; ++c) {
        bool near;
        const float distance = DistanceByProduct<kMetric>(d[r][c], of_row + squares[c], near);
        near_pairs |= PairIf(near, r, c);
        d[r][c] = near || !Has(wanted, r, c) ? NoNumber() : distance;
      }
    }
    return near_pairs & wanted;
  }

  __device__ __forceinline__ void OfferTile(int32_t col, Pairs positives, float (&d)[kPerSide][kPerSide]) {
    FSLCORE_UNROLL
    for (int r = 0; r < kPerSide; ++r) {
      const int a = TileRow(r);
      if (kSearch == Search::kNearest && positives != 0) {
        for (int c = 0; c < kPerSide; ++c)
          if (Has(positives, r, c)) OfferPositive(a, col + TileColumn(c), Select(d[r], c));
        FSLCORE_UNROLL
        for (int c = 0; c < kPerSide; ++c) d[r][c] = Has(positives, r, c) ? NoNumber() : d[r][c];
      }
      for (unsigned news = News(s_, a, d[r]); news; news &= news - 1) {
        const int c = __ffs(static_cast<int>(news)) - 1;
        Offer(batch_, a, col + TileColumn(c), Select(d[r], c), s_);
      }
    }
  }

  // The rule chooses the positive with the largest key.
  __device__ void OfferPositive(int a, int32_t place, float distance) {
    if (!(distance <= __uint_as_float(kInfinityBits))) return;
    const uint32_t bits = __float_as_uint(distance);
    const bool easy = batch_.mining == Mining::kEasyPositive;  // the nearest first
    const Key key = FarKeyOf(easy ? kInfinityBits - bits : bits, batch_.classes.members[place]);
    if (key > Current(s_.farthest[a])) atomicMax(&s_.farthest[a], key);
  }

  __device__ void OfferAlone(int32_t col, Pairs near, Pairs positives) {
    for (int i = 0; i < kPerSide * kPerSide; ++i) {
      const int r = i / kPerSide, c = i % kPerSide, a = TileRow(r);
      if (!Has(near, r, c)) continue;
      const int32_t place = col + TileColumn(c);
      const float squared = SumPair<Summed::kSquaredDifferences>(batch_.columns, tile_ + a, place);
      const float distance = MetricOfSquare(kMetric, squared);
      if (Has(positives, r, c))
        OfferPositive(a, place, distance);
      else
        Offer(batch_, a, place, distance, s_);
    }
  }

  // The near pairs of the whole tile. Two counters alternate, so that one barrier is enough: the barriers of
  // the next tile's sums lie between two uses of a counter.
  __device__ int CountNear(Pairs near) {
    int& count = s_.near[turn_];
    const int own = __popc(static_cast<unsigned>(near)) + __popc(static_cast<unsigned>(near >> 32));
    if (own > 0) atomicAdd(&count, own);
    __syncthreads();
    turn_ ^= 1;
    if (threadIdx.x == 0) s_.near[turn_] = 0;
    return count;
  }

  const SearchedBatch& batch_;
  BlockState<kSearch>& s_;
  const int32_t tile_, real_;
  int turn_ = 0;
};

}  // namespace fslcore::cuda::mining
