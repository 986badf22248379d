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
    const auto tile = [&](auto height, int64_t row) {
      constexpr int kHeight = height.value;
      // The next part of the panels, a share with each tile.
      const int64_t share = depth * kPanel / b.rows;
      Prefetch({panel + share * row + depth * kPanel, share * kHeight});
      Accumulate<kHeight, kPair>(
          {depth, b.tiles + b.rows * k + row * depth, 1, kHeight, panel, nullptr, b.max_by_fma}, k == 0,
          b.sums + row * kPanel);
      if (last)
        for (int r = 0; r < kHeight; ++r) CompareRow<kPair>(b, row + r, limits, found);
    };
    ForEachTile(b.rows, tile, TallestTile(b.max_by_fma));
  }
  return found.count;
}

// The metric of two rows, before it is finished: sums, or the least complement of a magnitude.
template <Metric kMetric>
inline Vec AddCoordinates(Vec sum, Vec x, Vec y) {
  if constexpr (PairOf(kMetric) == Pair::kLargestAbsolute)
    return MinBits(sum, SubBits(SetBits(kLargestBits), Abs(Sub(x, y))));
  if constexpr (kMetric == Metric::kManhattan) return Add(sum, Abs(Sub(x, y)));
  if constexpr (kMetric == Metric::kDot || kMetric == Metric::kCosine) return Fma(x, y, sum);
  const Vec difference = Sub(x, y);
  return Fma(difference, difference, sum);
}

template <Metric kMetric>
inline float FinishLanes(Vec sum) {
  if constexpr (PairOf(kMetric) != Pair::kLargestAbsolute) return Sum(sum);
  float lanes[kLanes];
  Store(lanes, sum);
  uint32_t least = kLargestBits;
  for (float lane : lanes) least = FloatBits(lane) < least ? FloatBits(lane) : least;
  return BitsFloat(kLargestBits - least);
}

// out[r * stride] = the metric of x[r] and y, rows `dim` floats apart; with kSquares also the squares of
// x[r]. Each row has one sum: its bits do not depend on how many rows there are.
template <int kRows, Metric kMetric, bool kSquares = false>
inline void MeetRows(const float* x, const float* y, int64_t dim, float* out, int64_t stride,
                     float* squares = nullptr) {
  Vec sums[kRows], squared[kRows];
  for (int r = 0; r < kRows; ++r) sums[r] = SumOfNothing<PairOf(kMetric)>(), squared[r] = Set(0.0f);
  const auto add = [&](int r, Vec of_x, Vec of_y) {
    sums[r] = AddCoordinates<kMetric>(sums[r], of_x, of_y);
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
    out[r * stride] = FinishLanes<kMetric>(sums[r]);
    if constexpr (kSquares) squares[r] = Sum(squared[r]);
  }
}

// Floats between those that are summed and those that are fetched: one reading of memory, row after row.
constexpr int64_t kAhead = 4096;
// With more queries tiles are faster, although they have a panel of queries whatever is in it.
constexpr int64_t kFew = 8;

template <Metric kMetric>
void MeetFew(const FewQueries& f) {
  constexpr bool kSquares = kMetric == Metric::kCosine;
  // As many sums as hide the latency of each other.
  constexpr int kRows = kSquares ? 4 : 8;
  const auto meet = [&f](auto rows, int64_t row) {
    const float* x = f.x + row * f.dim;
    float* out = f.values + row * f.queries;
    MeetRows<rows.value, kMetric, kSquares>(x, f.y, f.dim, out, f.queries, f.squares + row);
    for (int64_t c = 1; c < f.queries; ++c)
      MeetRows<rows.value, kMetric>(x, f.y + c * f.dim, f.dim, out + c, f.queries);
  };
  int64_t row = 0;
  for (; row + kRows <= f.rows; row += kRows) {
    Prefetch({f.x + row * f.dim + kAhead, kRows * f.dim});
    meet(Height<kRows>{}, row);
  }
  for (; row < f.rows; ++row) meet(Height<1>{}, row);
}

void Few(const FewQueries& few) {
  switch (few.metric) {
    case Metric::kCosine:
      return MeetFew<Metric::kCosine>(few);
    case Metric::kDot:
      return MeetFew<Metric::kDot>(few);
    case Metric::kManhattan:
      return MeetFew<Metric::kManhattan>(few);
    case Metric::kChebyshev:
      return MeetFew<Metric::kChebyshev>(few);
    default:
      MeetFew<Metric::kSqeuclidean>(few);
  }
  if (few.metric == Metric::kEuclidean)
    for (int64_t i = 0; i < few.rows * few.queries; ++i)
      few.values[i] = MetricOfSquare(Metric::kEuclidean, few.values[i]);
}

int64_t Candidates(const SearchBlock& block) {
  if (block.pair == Pair::kProduct) return SearchTiles<Pair::kProduct>(block);
  if (block.pair == Pair::kAbsolute) return SearchTiles<Pair::kAbsolute>(block);
  return SearchTiles<Pair::kLargestAbsolute>(block);
}

void Squares(const float* x, int64_t rows, int64_t dim, float* squares) {
  for (int64_t r = 0; r < rows; ++r) squares[r] = Dot(x + r * dim, x + r * dim, dim);
}

template <Metric kMetric>
inline float Meet(const float* x, const float* y, int64_t dim) {
  float value;
  MeetRows<1, kMetric>(x, y, dim, &value, 1);
  return value;
}

float ExactPair(Metric metric, const float* x, const float* y, int64_t dim) {
  if (metric == Metric::kDot) return Meet<Metric::kDot>(x, y, dim);
  if (metric == Metric::kManhattan) return Meet<Metric::kManhattan>(x, y, dim);
  if (metric == Metric::kChebyshev) return Meet<Metric::kChebyshev>(x, y, dim);
  return MetricOfSquare(metric, Meet<Metric::kSqeuclidean>(x, y, dim));
}

constexpr SearchKernels MakeSearchKernels() {
  SearchKernels k = {};
  k.candidates = Candidates;
  k.most_few = kFew;
  k.few = Few;
  k.squares = Squares;
  k.exact = ExactPair;
  return k;
}
