// SPDX-License-Identifier: MIT
// The search for the nearest rows beyond limits, in register tiles of distances that are searched where they
// were summed.
#pragma once
#include "core/simd/pairwise_kernels.inl"
#include "core/simd/row_kernels.inl"
#include "core/simd/tiles.inl"

// A candidate for the row of `at`, `distance` away: it takes the place of the nearest one if it is nearer.
inline void Offer(const BeyondBlock& b, int64_t at, int64_t row, int64_t candidate, float distance) {
  const uint32_t excess = FloatBits(distance) - b.beyond[at];
  if (excess >= b.excess[at] || b.class_of[row] == b.class_of[candidate]) return;
  b.excess[at] = excess;
  b.nearest[at] = static_cast<int32_t>(candidate);
}

// The distances [columns] of a row that may have a nearer candidate.
__attribute__((noinline)) void OfferColumns(const BeyondBlock& b, int64_t row, const float* distances,
                                            int64_t columns) {
  for (int64_t k = 0; k < b.limits[row]; ++k) {
    const int64_t at = k * b.stride + row;
    const Vec beyond = SetBits(b.beyond[at]);
    for (int64_t v = 0; v < kVecs; ++v) {
      uint32_t nearer = Bits(LessBits(SubBits(Load(distances + v * kLanes), beyond), SetBits(b.excess[at])));
      for (; nearer; nearer &= nearer - 1) {
        const int64_t c = v * kLanes + __builtin_ctz(nearer);
        if (c < columns) Offer(b, at, row, b.first_col + c, distances[c]);
      }
    }
  }
}

// The distances [rows, kPanel] of columns, of which the marked ones may have a nearer candidate beyond the
// marked limits; a mark of the last bit stands for all limits from there on.
__attribute__((noinline)) void OfferRows(const BeyondBlock& b, int64_t first_row, int64_t rows,
                                         const float* distances, uint32_t limits, uint64_t columns) {
  for (int64_t k = 0; k < b.most_limits; ++k) {
    if (!(limits >> (k < 31 ? k : 31) & 1)) continue;
    for (uint64_t left = columns; left; left &= left - 1) {
      const int64_t c = __builtin_ctzll(left), col = b.first_col + c, at = k * b.stride + col;
      for (int64_t r = 0; r < rows; ++r) Offer(b, at, col, first_row + r, distances[r * kPanel + c]);
    }
  }
}

// Distances that are not far (Finished) are evaluated again, in a tile that begins at `row` of the block.
template <Metric kMetric, int kHeight>
__attribute__((noinline)) void EvaluateAgain(const PairwiseBlock& g, int64_t row,
                                             const uint32_t (&far)[kHeight][kVecs], float* distances) {
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v)
      for (uint32_t left = kAllLanes & ~far[r][v]; left; left &= left - 1) {
        const int64_t c = v * kLanes + __builtin_ctz(left);
        if (c < g.cols)
          distances[r * kPanel + c] = Exact<kMetric>(g.x + (row + r) * g.dim, g.y + c * g.dim, g.dim);
      }
}

template <int kHeight>
__attribute__((always_inline)) inline void StoreTile(const Vec (&tile)[kHeight][kVecs], float* out) {
#pragma GCC unroll 8
  for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) Store(out + r * kPanel + v * kLanes, tile[r][v]);
}

// Most tiles hold no nearest candidate of any row or column. One comparison for all columns of a row, and one
// for all rows of a column, detects that; classes are compared only if there may be one. All loops over the
// tile are unrolled, for it to stay in registers.
template <Metric kMetric, int kHeight>
__attribute__((noinline)) void SearchTile(const PairwiseBlock& g, const BeyondBlock& b, int64_t row) {
  Vec tile[kHeight][kVecs];
  uint32_t far[kHeight][kVecs], all_far = kAllLanes;
#pragma GCC unroll 8
  for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      const Vec sum = Load(g.sums + (row + r) * kPanel + v * kLanes);
      tile[r][v] = Finished<kMetric>(g, row + r, v * kLanes, sum, far[r][v]);
      all_far &= far[r][v];
    }
  float distances[kHeight * kPanel];
  if (all_far != kAllLanes) {
    StoreTile(tile, distances);
    EvaluateAgain<kMetric>(g, row, far, distances);
#pragma GCC unroll 8
    for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) tile[r][v] = Load(distances + r * kPanel + v * kLanes);
  }

  uint32_t rows_with = 0, limits_with = 0;
  uint64_t columns_with = 0;
#pragma GCC unroll 8
  for (int r = 0; r < kHeight; ++r) {
    const int64_t of_row = b.first_row + row + r;
    uint32_t nearer = 0;
    for (int64_t k = 0; k < b.limits[of_row]; ++k) {
      const int64_t at = k * b.stride + of_row;
      const Vec beyond = SetBits(b.beyond[at]);
      Vec least = SubBits(tile[r][0], beyond);
#pragma GCC unroll 8
      for (int v = 1; v < kVecs; ++v) least = MinBits(SubBits(tile[r][v], beyond), least);
      nearer |= Bits(LessBits(least, SetBits(b.excess[at])));
    }
    rows_with |= nearer ? 1u << r : 0u;
  }
  for (int64_t k = 0; b.for_columns && k < b.most_limits; ++k) {
    uint64_t nearer = 0;
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      const int64_t at = k * b.stride + b.first_col + v * kLanes;
      const Vec beyond = LoadBits(b.beyond + at);
      Vec least = SubBits(tile[0][v], beyond);
#pragma GCC unroll 8
      for (int r = 1; r < kHeight; ++r) least = MinBits(SubBits(tile[r][v], beyond), least);
      nearer |= uint64_t{Bits(LessBits(least, LoadBits(b.excess + at)))} << v * kLanes;
    }
    columns_with |= nearer;
    limits_with |= nearer ? 1u << (k < 31 ? k : 31) : 0u;
  }
  if (!(rows_with | limits_with)) return;
  StoreTile(tile, distances);
  for (; rows_with; rows_with &= rows_with - 1) {
    const int r = __builtin_ctz(rows_with);
    OfferColumns(b, b.first_row + row + r, distances + r * kPanel, g.cols);
  }
  if (limits_with) OfferRows(b, b.first_row + row, kHeight, distances, limits_with, columns_with);
}

template <Metric kMetric>
void SearchPanel(const PairwiseBlock& g, const BeyondBlock& b) {
  for (int64_t k = 0; k == 0 || k < g.dim; k += kDepth) {
    const int64_t depth = g.dim - k < kDepth ? g.dim - k : kDepth;
    const float* panel = g.panels + k * kPanel;
    const int64_t share = depth * kPanel / g.rows;  // of the next part of the panel, fetched with each row
    ForEachTile(g.rows, [&](auto height, int64_t row) {
      constexpr int kHeight = height.value;
      Prefetch({panel + share * row + depth * kPanel, share * kHeight});
      const Operands o = {depth, g.tiles + g.rows * k + row * depth, 1, kHeight, panel, nullptr, false};
      Accumulate<kHeight, Pair::kProduct>(o, k == 0, g.sums + row * kPanel);
      if (k + depth >= g.dim) SearchTile<kMetric, kHeight>(g, b, row);
    });
  }
}

void NearestBeyond(const PairwiseBlock& g, const BeyondBlock& b) {
  if (g.metric == Metric::kSqeuclidean) return SearchPanel<Metric::kSqeuclidean>(g, b);
  if (g.metric == Metric::kEuclidean) return SearchPanel<Metric::kEuclidean>(g, b);
  SearchPanel<Metric::kCosine>(g, b);
}
