// SPDX-License-Identifier: MIT
// What a block does with the triplets of its item: lists them, or adds up their terms and gradients. A warp
// takes one anchor after the other.
#pragma once
#include "core/triplets/term.h"
#include "cuda/threads.h"
#include "cuda/triplets/mining_block.h"

namespace fslcore::cuda::mining {

constexpr int kWarps = kTileThreads / 32;

// A row as the terms see it.
template <Metric kMetric>
struct TermRow {
  const float* data;
  float scale = 1.0f, length = 1.0f;

  __device__ TermRow(const TermRows& rows, int64_t row) : data(rows.data + row * rows.dim) {
    if (kMetric == Metric::kCosine) scale = rows.scales[row], length = rows.lengths[row];
  }
  __device__ float operator[](int64_t d) const {
    if (kMetric != Metric::kCosine) return data[d];
    const float scaled = data[d] * scale;
    return length == 0.0f ? scaled : scaled / length;
  }
};

// The triplets of a block once they are settled.
template <Metric kMetric, Search kSearch>
class BlockTriplets {
 public:
  __device__ BlockTriplets(const SearchedBatch& batch, const TripletUse& use, BlockState<kSearch>& state)
      : batch_(batch), use_(use), s_(state), lane_(threadIdx.x % 32), warp_(threadIdx.x / 32) {}

  __device__ void List() const {
    constexpr int kLimits = BlockState<kSearch>::kLimits;
    for (int unit = static_cast<int>(threadIdx.x); unit < kTileRows * kLimits; unit += kTileThreads) {
      const int a = unit / kLimits, slot = unit % kLimits;
      if (slot >= s_.count[a]) continue;
      const int64_t anchor = Anchor(a);
      const int64_t of_anchor = kSearch == Search::kNearest ? 1 : s_.end[a] - s_.begin[a] - 1;
      const int64_t at = use_.listed_until[anchor] - of_anchor + s_.item.round * kLimits + Number(a, slot);
      if (at >= use_.room) continue;
      use_.anchor[at] = static_cast<int32_t>(anchor);
      use_.positive[at] = Positive(a, slot);
      use_.negative[at] = Negative(a, slot);
    }
  }

  // The sum of the terms, in thread 0. Leaves the slopes of those that are active in place of the limits and
  // of the keys' distances.
  __device__ double AddTerms() {
    double sum = 0.0;
    for (int a = warp_; a < kTileRows; a += kWarps)
      for (int slot = 0; slot < s_.count[a]; slot += kSlots) sum += AddTermsOf(a, slot);
    sum = WarpSum(sum);
    if (lane_ == 0) s_.sums[warp_] = sum;
    __syncthreads();
    sum = 0.0;
    for (int w = 0; w < kWarps; ++w) sum += s_.sums[w];
    return sum;
  }

  __device__ void AddGradients() const {
    const double scale = *use_.gradient.scale;
    for (int64_t d = lane_; d < use_.rows.dim; d += kChunk) {
      for (int a = warp_; a < kTileRows; a += kWarps)
        if (s_.count[a] > 0) AddToAnchor(a, d, scale);
      if constexpr (kSearch != Search::kNearest) AddToPositives(d, scale);
    }
  }

 private:
  static constexpr int kSlots = 8, kLanesOfSlot = 32 / kSlots;  // side by side in a warp
  static constexpr int kOfLane = 4;                             // coordinates that a lane sums
  static constexpr int64_t kChunk = kOfLane * 32;

  __device__ int64_t Anchor(int a) const { return batch_.classes.members[s_.item.first_place() + a]; }
  __device__ int Number(int a, int slot) const { return kSearch == Search::kNearest ? 0 : s_.order[a][slot]; }
  __device__ int32_t Positive(int a, int slot) const {
    if (kSearch == Search::kNearest) return FarIndexOf(s_.farthest[a]);
    return batch_.classes.members[PositivePlace(s_, a, Number(a, slot))];
  }
  __device__ int32_t Negative(int a, int slot) const { return IndexOf(s_.nearest[a][slot]); }
  __device__ float SlopeFrom(int a, int slot) const {
    return __uint_as_float(DistanceBits(s_.nearest[a][slot]));
  }

  // Those of kSlots triplets of an anchor; what a lane has of their sum.
  __device__ double AddTermsOf(int a, int first) {
    const int slot = first + lane_ / kLanesOfSlot;
    const bool present = slot < s_.count[a];
    const TermRow<kMetric> x(use_.rows, Anchor(a));
    const TermRow<kMetric> p(use_.rows, present ? Positive(a, slot) : Anchor(a));
    const TermRow<kMetric> n(use_.rows, present ? Negative(a, slot) : Anchor(a));
    float to_p = 0.0f, to_n = 0.0f;
    for (int64_t d = lane_ % kLanesOfSlot; d < use_.rows.dim; d += kLanesOfSlot) {
      const float own = x[d], by_p = own - p[d], by_n = own - n[d];
      to_p = fmaf(by_p, by_p, to_p);
      to_n = fmaf(by_n, by_n, to_n);
    }
    for (int mask = kLanesOfSlot / 2; mask > 0; mask /= 2) {
      to_p += __shfl_xor_sync(kWholeWarp, to_p, mask);
      to_n += __shfl_xor_sync(kWholeWarp, to_n, mask);
    }
    if (!present || lane_ % kLanesOfSlot != 0) return 0.0;
    const TripletTerm term =
        TermOf(DistanceOfSquare(kMetric, to_p, x.length == 0.0f || p.length == 0.0f),
               DistanceOfSquare(kMetric, to_n, x.length == 0.0f || n.length == 0.0f), use_.margin);
    s_.limits[a][Number(a, slot)] = __float_as_uint(term.toward_positive);
    s_.nearest[a][slot] = KeyOf(__float_as_uint(term.from_negative), Negative(a, slot));
    return static_cast<double>(term.value);
  }

  // A lane's coordinates of a row, from d on.
  __device__ void Read(int64_t row, int64_t d, float (&out)[kOfLane]) const {
    const TermRow<kMetric> values(use_.rows, row);
    for (int i = 0; i < kOfLane; ++i) out[i] = d + 32 * i < use_.rows.dim ? values[d + 32 * i] : 0.0f;
  }

  __device__ void Add(int64_t row, int64_t d, const float (&values)[kOfLane], float sign,
                      double scale) const {
    for (int i = 0; i < kOfLane; ++i) {
      if (values[i] == 0.0f) continue;
      if (!(fabsf(values[i]) < __uint_as_float(kInfinityBits))) {
        atomicOr(&use_.gradient.spoilt[row], 1);
        continue;
      }
      const auto units = static_cast<int64_t>(llrint(static_cast<double>(sign * values[i]) * scale));
      atomicAdd(&use_.gradient.sums[row * use_.rows.dim + d + 32 * i], static_cast<Key>(units));
    }
  }

  // slope * (x - y), on top of `sum` times sign; y is read.
  __device__ void Edge(const float (&x)[kOfLane], int64_t y, int64_t d, float slope, float (&part)[kOfLane],
                       float sign, float (&sum)[kOfLane]) const {
    Read(y, d, part);
    for (int i = 0; i < kOfLane; ++i) {
      part[i] = slope * (x[i] - part[i]);
      sum[i] += sign * part[i];
    }
  }

  // Adds the gradients of an anchor's triplets to the anchor and to its negatives. Equal negatives follow
  // each other, and are added at once.
  __device__ void AddToAnchor(int a, int64_t d, double scale) const {
    const int64_t anchor = Anchor(a);
    float x[kOfLane], part[kOfLane], sum[kOfLane] = {};
    Read(anchor, d, x);
    float from = 0.0f;
    for (int slot = 0; slot < s_.count[a]; ++slot) {
      const float toward = __uint_as_float(s_.limits[a][Number(a, slot)]);
      if (toward != 0.0f) {
        Edge(x, Positive(a, slot), d, toward, part, 1.0f, sum);
        if constexpr (kSearch == Search::kNearest) Add(Positive(a, slot), d, part, -1.0f, scale);
      }
      from += SlopeFrom(a, slot);
      if (slot + 1 < s_.count[a] && Negative(a, slot + 1) == Negative(a, slot)) continue;
      if (from != 0.0f) {
        Edge(x, Negative(a, slot), d, from, part, -1.0f, sum);
        Add(Negative(a, slot), d, part, 1.0f, scale);
      }
      from = 0.0f;
    }
    Add(anchor, d, sum, 1.0f, scale);
  }

  // The positives' share: for each row of the round, all anchors of the tile that have it as a positive.
  __device__ void AddToPositives(int64_t d, double scale) const {
    constexpr int kLimits = BlockState<kSearch>::kLimits;
    const int64_t tile = s_.item.first_place();
    for (int first = 0, last; first < kTileRows; first = last) {  // anchors of one class
      const int64_t begin = s_.begin[first], end = s_.end[first];
      if (begin == end) return;  // padding, at the end
      last = static_cast<int>(end - tile < kTileRows ? end - tile : kTileRows);
      const int64_t skipped = begin + s_.item.round * kLimits;
      const int64_t until = skipped + kLimits < end ? skipped + kLimits + 1 : end;
      for (int64_t place = skipped + warp_; place < until; place += kWarps) {
        const int64_t row = batch_.classes.members[place];
        float x[kOfLane], part[kOfLane], sum[kOfLane] = {};
        Read(row, d, x);
        for (int a = first; a < last; ++a) {
          const int64_t number = place - skipped - (place > tile + a ? 1 : 0);
          if (place == tile + a || number < 0 || number >= s_.count[a]) continue;
          const float toward = __uint_as_float(s_.limits[a][number]);
          if (toward != 0.0f) Edge(x, Anchor(a), d, toward, part, 1.0f, sum);
        }
        Add(row, d, sum, 1.0f, scale);
      }
    }
  }

  const SearchedBatch& batch_;
  const TripletUse& use_;
  BlockState<kSearch>& s_;
  const int lane_, warp_;
};

}  // namespace fslcore::cuda::mining
