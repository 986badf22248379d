// SPDX-License-Identifier: MIT
// Gradients of the product metrics: slopes are packed as the left side of a product, which register tiles
// compute.
#pragma once
#include "core/simd/pairwise_kernels.inl"

// The slopes of neighbouring pairs, without constant factors.
template <Metric kMetric>
inline Vec SlopesOf(const float* grad, const float* out) {
  if constexpr (kMetric == Metric::kEuclidean) {
    const Vec distance = Load(out);
    return Select(Equal(distance, Set(0.0f)), Set(0.0f), Div(Load(grad), distance));
  }
  return Load(grad);
}

template <Metric kMetric>
inline Vec SlopesOf(const float* grad, const float* out, int64_t n) {
  if constexpr (kMetric == Metric::kEuclidean) {
    const Vec distance = LoadPartial(out, n);
    return Select(Equal(distance, Set(0.0f)), Set(0.0f), Div(LoadPartial(grad, n), distance));
  }
  return LoadPartial(grad, n);
}

// sums[r] += the sum over k of tile[k, r]. Vectors reach beyond the last row: what is there does not matter.
template <int kHeight>
inline void AddTileSums(const float* tile, int64_t depth, float* sums) {
  constexpr int kParts = (kHeight + kLanes - 1) / kLanes;
  Vec even[kParts], odd[kParts];
  for (int i = 0; i < kParts; ++i) even[i] = odd[i] = Set(0.0f);
  int64_t k = 0;
  for (; k + 2 <= depth; k += 2)
    for (int i = 0; i < kParts; ++i) {
      even[i] = Add(even[i], Load(tile + k * kHeight + i * kLanes));
      odd[i] = Add(odd[i], Load(tile + (k + 1) * kHeight + i * kLanes));
    }
  if (k < depth)
    for (int i = 0; i < kParts; ++i) even[i] = Add(even[i], Load(tile + k * kHeight + i * kLanes));
  float totals[kParts * kLanes];
  for (int i = 0; i < kParts; ++i) Store(totals + i * kLanes, Add(even[i], odd[i]));
  for (int r = 0; r < kHeight; ++r) sums[r] += totals[r];
}

template <int kHeight, Metric kMetric>
inline void PackSlopeTile(const SlopeBlock& b, int64_t row, float* tile) {
  const float *grad = b.grad + row * b.stride, *out = b.out + row * b.stride;
  constexpr int kSquares = (kHeight + kLanes - 1) / kLanes;
  for (int64_t c = 0; c < b.cols; c += kLanes) {
    const int64_t left = b.cols - c;
    Vec squares[kSquares][kLanes];
    for (int r = 0; r < kSquares * kLanes; ++r) {
      const int64_t at = r * b.stride + c;
      squares[r / kLanes][r % kLanes] = r >= kHeight    ? Set(0.0f)
                                        : left < kLanes ? SlopesOf<kMetric>(grad + at, out + at, left)
                                                        : SlopesOf<kMetric>(grad + at, out + at);
    }
    for (auto& square : squares) Transpose(square);
    for (int i = 0; i < kLanes && i < left; ++i)
      for (int s = 0; s < kSquares; ++s) Store(tile + (c + i) * kHeight + s * kLanes, squares[s][i]);
  }
}

template <Metric kMetric>
void PackSlopesOf(const SlopeBlock& b) {
  ForEachTile(b.rows, [&](auto height, int64_t row) {
    constexpr int kHeight = height.value;
    float* tile = b.tiles + row * b.cols;
    PackSlopeTile<kHeight, kMetric>(b, row, tile);
    if (b.sums) AddTileSums<kHeight>(tile, b.cols, b.sums + row);
  });
}

void PackSlopes(const SlopeBlock& b) {
  b.metric == Metric::kEuclidean ? PackSlopesOf<Metric::kEuclidean>(b) : PackSlopesOf<Metric::kDot>(b);
}

constexpr float kLaneNumbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// Elements kFirst to kFirst + kLanes of the rows of a tile, one row after the other: lanes of different rows,
// each loaded where its columns fall on its lanes. Nothing outside these rows is read.
template <int kHeight, int kFirst>
inline Vec LoadAcross(const float* from, int64_t stride) {
  constexpr int kRow = kFirst / kHeight, kLastRow = (kFirst + kLanes - 1) / kHeight;
  Vec all = Load(from + kRow * stride + (kFirst - kRow * kHeight));
  for (int row = kRow + 1; row <= kLastRow; ++row) {
    const int before = row * kHeight - kFirst;  // lanes of earlier rows
    const Mask earlier = Less(Load(kLaneNumbers), Set(static_cast<float>(before)));
    all = Select(earlier, all, Load(from + row * stride - before));
  }
  return all;
}

constexpr int CommonDivisor(int a, int b) { return b == 0 ? a : CommonDivisor(b, a % b); }

// Rows of a tile of columns: as many as fill whole vectors.
template <int kHeight, Metric kMetric, int kFirst = 0>
inline void PackAcross(const float* grad, const float* out, int64_t stride, float* to) {
  constexpr int kRows = kLanes / CommonDivisor(kLanes, kHeight);
  if constexpr (kFirst < kRows * kHeight) {
    Vec slopes = LoadAcross<kHeight, kFirst>(grad, stride);
    if constexpr (kMetric == Metric::kEuclidean) {
      const Vec distances = LoadAcross<kHeight, kFirst>(out, stride);
      slopes = Select(Equal(distances, Set(0.0f)), Set(0.0f), Div(slopes, distances));
    }
    Store(to + kFirst, slopes);
    PackAcross<kHeight, kMetric, kFirst + kLanes>(grad, out, stride, to);
  }
}

// Tiles of columns that are packed together: they share lines of the slopes, and stay in the L1 cache.
constexpr int64_t kTilesTogether = 4;

// `count` tiles of columns, from column c on.
template <int kHeight, Metric kMetric>
void PackTilesAcross(const SlopeBlock& b, int64_t c, int64_t count) {
  constexpr int kRows = kLanes / CommonDivisor(kLanes, kHeight);
  const int64_t whole = b.rows / kRows * kRows;
  for (int64_t r = 0; r < whole; r += kRows)
    for (int64_t t = 0; t < count; ++t) {
      const int64_t col = c + t * kHeight, at = r * b.stride + col;
      PackAcross<kHeight, kMetric>(b.grad + at, b.out + at, b.stride, b.tiles + col * b.rows + r * kHeight);
    }
  for (int64_t r = whole; r < b.rows; ++r)
    for (int64_t i = 0; i < count * kHeight; ++i) {
      const int64_t tile = i / kHeight, at = r * b.stride + c + i;
      float slope = b.grad[at];
      if (kMetric == Metric::kEuclidean) slope = b.out[at] == 0.0f ? 0.0f : slope / b.out[at];
      b.tiles[(c + tile * kHeight) * b.rows + r * kHeight + i % kHeight] = slope;
    }
  if (!b.sums) return;
  for (int64_t t = 0; t < count; ++t)
    AddTileSums<kHeight>(b.tiles + (c + t * kHeight) * b.rows, b.rows, b.sums + c + t * kHeight);
}

template <Metric kMetric>
void PackSlopesAcrossOf(const SlopeBlock& b) {
  ForEachRun(b.cols, [&](auto height, int64_t c, int64_t count) {
    constexpr int kHeight = height.value;
    for (int64_t t = 0; t < count; t += kTilesTogether)
      PackTilesAcross<kHeight, kMetric>(b, c + t * kHeight,
                                        count - t < kTilesTogether ? count - t : kTilesTogether);
  });
}

void PackSlopesAcross(const SlopeBlock& b) {
  b.metric == Metric::kEuclidean ? PackSlopesAcrossOf<Metric::kEuclidean>(b)
                                 : PackSlopesAcrossOf<Metric::kDot>(b);
}

// Rows `from` up to `to` of what the next block packs, to the L2 cache.
inline void PrefetchRows(const ProductBlock& b, int64_t from, int64_t to) {
  for (const float* matrix : {b.ahead, b.also_ahead})
    for (int64_t row = from; matrix != nullptr && row < to; ++row)
      for (int64_t c = 0; c < b.ahead_cols; c += 16)
        __builtin_prefetch(matrix + row * b.ahead_stride + c, 0, 2);
}

void Multiply(const ProductBlock& b) {
  const int64_t share = b.depth * kPanel / b.rows;
  ForEachTile(b.rows, [&](auto height, int64_t row) {
    constexpr int kHeight = height.value;
    float* sums = b.sums + row * kPanel;
    Prefetch({b.next_panel + share * row, share * kHeight});
    if (!b.first) Prefetch({sums + kHeight * kPanel, kHeight * kPanel});
    PrefetchRows(b, b.ahead_rows * row / b.rows, b.ahead_rows * (row + kHeight) / b.rows);
    Accumulate<kHeight, Pair::kProduct>(
        {b.depth, b.tiles + row * b.depth, 1, kHeight, b.panel, nullptr, false}, b.first, sums);
  });
}

void FinishProduct(const ProductRows& b) {
  const Vec scale = Set(b.scale);
  constexpr int64_t kRowsAhead = 12;  // the lines of a panel are far apart
  for (int64_t r = 0; r < b.rows; ++r) {
    if (b.own) Prefetch({b.own + (r + kRowsAhead) * b.stride, kPanel});
    Prefetch({b.out + (r + kRowsAhead) * b.stride, kPanel});
    const Vec own_scale = Set(b.own ? b.own_scales[r] : 0.0f);
    for (int v = 0; v < kVecs; ++v) {
      const float* sums = b.sums + r * kPanel + v * kLanes;
      const int64_t at = r * b.stride + v * kLanes, left = b.cols - v * kLanes;
      if (left <= 0) break;
      Vec sum = Load(sums);
      for (int64_t part = 1; part < b.parts; ++part) sum = Add(sum, Load(sums + part * b.part_stride));
      sum = Mul(scale, sum);
      if (b.own) sum = Fma(own_scale, left < kLanes ? LoadPartial(b.own + at, left) : Load(b.own + at), sum);
      StoreColumns(b.out + at, sum, left);
    }
  }
}

constexpr ProductGradKernels MakeProductGradKernels() {
  ProductGradKernels k = {};
  k.pack_slopes = PackSlopes;
  k.pack_slopes_across = PackSlopesAcross;
  k.multiply = Multiply;
  k.finish = FinishProduct;
  return k;
}
