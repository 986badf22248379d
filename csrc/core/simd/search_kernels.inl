// SPDX-License-Identifier: MIT
// The search for the nearest rows: sums of pairs in register tiles of rows x queries, compared while they are
// in the L1 cache. Few queries meet the rows as they lie, lanes along the coordinates.
#pragma once
#include "core/simd/pairwise_kernels.inl"

// What a block has found.
struct Found {
  int32_t* places;
  float* bounds;
  int64_t count;

  void Add(int64_t place, float bound) {
    places[count] = static_cast<int32_t>(place);
    bounds[count++] = bound;
  }
};

// What is compared with the limits.
template <Pair kPair>
inline Vec SearchBound(Vec sum, Vec scale, Vec offset) {
  if constexpr (kPair == Pair::kLargestAbsolute) sum = SubBits(SetBits(kLargestBits), sum);
  return Fma(sum, scale, offset);
}

// Nearly all vectors hold no candidate.
template <Pair kPair>
inline void CompareRow(const SearchBlock& b, int64_t row, const Vec (&limits)[kVecs], Found& found) {
  const Vec scale = Set(b.scales[row]), offset = Set(b.offsets[row]);
  Vec bounds[kVecs];
  uint32_t near[kVecs], any = 0;
  for (int v = 0; v < kVecs; ++v) {
    bounds[v] = SearchBound<kPair>(Load(b.sums + row * kPanel + v * kLanes), scale, offset);
    near[v] = kAllLanes & ~Bits(Less(bounds[v], limits[v]));
    any |= near[v];
  }
  if (!any) return;
  for (int v = 0; v < kVecs; ++v) {
    float values[kLanes];
    Store(values, bounds[v]);
    for (; near[v]; near[v] &= near[v] - 1) {
      const int64_t lane = __builtin_ctz(near[v]), c = v * kLanes + lane;
      if (c < b.queries) found.Add(row * kPanel + c, values[lane]);
    }
  }
}

template <Pair kPair>
int64_t SearchTiles(const SearchBlock& b) {
  Found found = {b.found, b.bounds, 0};
  Vec limits[kVecs];
  for (int v = 0; v < kVecs; ++v) limits[v] = Load(b.limits + v * kLanes);
  for (int64_t k = 0; k == 0 || k < b.dim; k += kDepth) {
    const int64_t depth = b.dim - k < kDepth ? b.dim - k : kDepth;
    const float* panel = b.panel + k * kPanel;
    const bool last = k + depth >= b.dim;
    ForEachTile(b.rows, [&](auto height, int64_t row) {
      constexpr int kHeight = height.value;
      // The next part of the panels, a share with each tile.
      const int64_t share = depth * kPanel / b.rows;
      Prefetch({panel + share * row + depth * kPanel, share * kHeight});
      Accumulate<kHeight, kPair>({depth, b.tiles + b.rows * k + row * depth, 1, kHeight, panel, nullptr},
                                 k == 0, b.sums + row * kPanel);
      if (last)
        for (int r = 0; r < kHeight; ++r) CompareRow<kPair>(b, row + r, limits, found);
    });
  }
  return found.count;
}

template <Pair kPair>
inline Vec AddPair(Vec sum, Vec x, Vec y) {
  if constexpr (kPair == Pair::kProduct) return Fma(x, y, sum);
  if constexpr (kPair == Pair::kAbsolute) return Add(sum, Max(x, y));
  return MinBits(sum, SubBits(SetBits(kLargestBits), Abs(Sub(x, y))));
}

// In every lane, where it is not a plain sum.
template <Pair kPair>
inline float AcrossLanes(Vec sum) {
  if constexpr (kPair != Pair::kLargestAbsolute) return Sum(sum);
  float lanes[kLanes];
  Store(lanes, sum);
  uint32_t least = kLargestBits;
  for (float lane : lanes) least = FloatBits(lane) < least ? FloatBits(lane) : least;
  return BitsFloat(least);
}

// Rows that meet a query at a time: as many sums hide the latency of each other.
constexpr int kFewRows = 4;
// With more queries tiles are faster, although they have a panel of queries whatever is in it.
constexpr int64_t kFew = 8;
// Floats between those that are summed and those that are fetched: one reading of memory, row after row.
constexpr int64_t kAhead = 4096;

// sums[r * stride] = the sum of the pair (x[r], y), rows `dim` floats apart, and with kSquares the squares of
// x[r].
template <int kRows, Pair kPair, bool kSquares>
inline void SumPairs(const float* x, const float* y, int64_t dim, float* sums, int64_t stride,
                     float* squares) {
  Vec lanes[kRows], squared[kRows];
  for (int r = 0; r < kRows; ++r) lanes[r] = SumOfNothing<kPair>(), squared[r] = Set(0.0f);
  const auto add = [&](int r, Vec of_x, Vec of_y) {
    lanes[r] = AddPair<kPair>(lanes[r], of_x, of_y);
    if constexpr (kSquares) squared[r] = Fma(of_x, of_x, squared[r]);
  };
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const Vec of_y = Load(y + i);
    for (int r = 0; r < kRows; ++r) add(r, Load(x + r * dim + i), of_y);
  }
  if (i < dim) {
    const Vec of_y = LoadPartial(y + i, dim - i);
    for (int r = 0; r < kRows; ++r) add(r, LoadPartial(x + r * dim + i, dim - i), of_y);
  }
  for (int r = 0; r < kRows; ++r) {
    sums[r * stride] = AcrossLanes<kPair>(lanes[r]);
    if constexpr (kSquares) squares[r] = Sum(squared[r]);
  }
}

template <int kRows, Pair kPair>
inline void SumFewRows(const FewQueries& f, int64_t row) {
  const float* x = f.x + row * f.dim;
  float* sums = f.sums + row * f.queries;
  constexpr bool kSquares = kPair == Pair::kProduct;
  SumPairs<kRows, kPair, kSquares>(x, f.y, f.dim, sums, f.queries, f.squares + row);
  for (int64_t c = 1; c < f.queries; ++c)
    SumPairs<kRows, kPair, false>(x, f.y + c * f.dim, f.dim, sums + c, f.queries, nullptr);
}

template <Pair kPair>
void SumFew(const FewQueries& f) {
  int64_t row = 0;
  for (; row + kFewRows <= f.rows; row += kFewRows) {
    Prefetch({f.x + row * f.dim + kAhead, kFewRows * f.dim});
    SumFewRows<kFewRows, kPair>(f, row);
  }
  for (; row < f.rows; ++row) SumFewRows<1, kPair>(f, row);
}

void FewSums(const FewQueries& few) {
  if (few.pair == Pair::kProduct) return SumFew<Pair::kProduct>(few);
  if (few.pair == Pair::kAbsolute) return SumFew<Pair::kAbsolute>(few);
  SumFew<Pair::kLargestAbsolute>(few);
  for (int64_t i = 0; i < few.rows * few.queries; ++i)
    few.sums[i] = BitsFloat(kLargestBits - FloatBits(few.sums[i]));
}

int64_t Candidates(const SearchBlock& block) {
  if (block.pair == Pair::kProduct) return SearchTiles<Pair::kProduct>(block);
  if (block.pair == Pair::kAbsolute) return SearchTiles<Pair::kAbsolute>(block);
  return SearchTiles<Pair::kLargestAbsolute>(block);
}

void Squares(const float* x, int64_t rows, int64_t dim, float* squares) {
  for (int64_t r = 0; r < rows; ++r) squares[r] = Dot(x + r * dim, x + r * dim, dim);
}

float ExactPair(Metric metric, const float* x, const float* y, int64_t dim) {
  if (metric == Metric::kDot) return Dot(x, y, dim);
  if (metric == Metric::kManhattan) return AbsoluteDistance(x, y, dim);
  if (metric != Metric::kChebyshev) return MetricOfSquare(metric, SquaredDistance(x, y, dim));
  float sum;
  SumPairs<1, Pair::kLargestAbsolute, false>(x, y, dim, &sum, 1, nullptr);
  return BitsFloat(kLargestBits - FloatBits(sum));
}

constexpr SearchKernels MakeSearchKernels() {
  SearchKernels k = {};
  k.candidates = Candidates;
  k.few = kFew;
  k.few_sums = FewSums;
  k.squares = Squares;
  k.exact = ExactPair;
  return k;
}
