// SPDX-License-Identifier: MIT
// Pairwise matrices by register tiles of kTileRows x kPanel pairs.
#pragma once
#include "core/simd/exponential.inl"
#include "core/simd/manhattan_kernels.inl"
#include "core/simd/row_kernels.inl"
#include "core/simd/tiles.inl"

// Steps of a sum between two tests of the end: small tiles would else spend a sixth of their instructions on
// it.
constexpr int64_t kSteps = kVecs == 2 ? 4 : 1;

// tile[r, c] += a[r] * b[c].
template <int kHeight>
__attribute__((always_inline)) inline void AddProducts(const float* a, const float* b,
                                                       Vec (&tile)[kHeight][kVecs]) {
  Vec columns[kVecs];
#pragma GCC unroll 8
  for (int v = 0; v < kVecs; ++v) columns[v] = Load(b + v * kLanes);
#pragma GCC unroll 8
  for (int r = 0; r < kHeight; ++r) {
    const Vec x = Set(a[r]);
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) tile[r][v] = Fma(x, columns[v], tile[r][v]);
  }
}

// sums[r, c] = the sum over k of a(r, k) * panel[k, c] for packed rows, on top of `sums` unless `first`.
template <int kHeight>
__attribute__((noinline)) void AccumulateProducts(const Operands& o, bool first, float* sums) {
  Vec tile[kHeight][kVecs];
#pragma GCC unroll 8  // an array of vectors stays in registers if all loops over it are unrolled early
  for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) tile[r][v] = first ? Set(0.0f) : Load(sums + r * kPanel + v * kLanes);
  const float *panel = o.panel, *a = o.a;
  int64_t k = 0;
  for (; k + kSteps <= o.depth; k += kSteps, panel += kSteps * kPanel, a += kSteps * kHeight)
#pragma GCC unroll 8
    for (int step = 0; step < kSteps; ++step)
      AddProducts<kHeight>(a + step * kHeight, panel + step * kPanel, tile);
  for (; k < o.depth; ++k, panel += kPanel, a += kHeight) AddProducts<kHeight>(a, panel, tile);
#pragma GCC unroll 8
  for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) Store(sums + r * kPanel + v * kLanes, tile[r][v]);
}

template <int kHeight, Pair kPair>
void Accumulate(const Operands& o, bool first, float* sums) {
  if constexpr (kPair == Pair::kProduct)
    AccumulateProducts<kHeight>(o, first, sums);
  else
    AccumulateDifferences<kHeight, kPair>(o, first, sums);
}

constexpr uint32_t kAllLanes = (1u << kLanes) - 1;

// The metric of `kLanes` pairs by their sums. `far` gets a bit for each that need not be evaluated again;
// none where what it was subtracted from overflows, or holds a NaN.
template <Metric kMetric>
inline Vec Finished(const PairwiseBlock& g, int64_t row, int64_t col, Vec sum, uint32_t& far) {
  far = kAllLanes;
  if constexpr (kMetric == Metric::kSqeuclidean || kMetric == Metric::kEuclidean) {
    const Vec norms = Add(Set(g.x_scales[row]), Load(g.y_scales + col));
    sum = Fma(Set(-2.0f), sum, norms);
    far = Bits(Less(Mul(Set(kNear), norms), sum));
    if constexpr (kMetric == Metric::kEuclidean) sum = Sqrt(sum);
  } else if constexpr (kMetric == Metric::kManhattan) {
    sum = Fma(Set(2.0f), sum, Sub(Set(-g.x_sums[row]), Load(g.y_sums + col)));
    far = Bits(Less(Mul(Set(kNear), Add(Set(g.x_scales[row]), Load(g.y_scales + col))), sum));
  } else if constexpr (kMetric == Metric::kCosine) {
    sum = Sub(Set(1.0f), sum);  // rows of x and y are normalised already
    far = Bits(Less(Set(kNear), sum));
  } else if constexpr (kMetric == Metric::kWeightedManhattan) {
    sum = Add(sum, Set(g.bias));
    if (g.activation == Activation::kSigmoid) sum = Logistic(sum);
  } else if constexpr (kMetric == Metric::kChebyshev) {
    sum = SubBits(SetBits(kLargestBits), sum);
  }
  return sum;
}

template <Metric kMetric>
inline float Exact(const float* x, const float* y, int64_t dim) {
  if constexpr (kMetric == Metric::kManhattan) return AbsoluteDistance(x, y, dim);
  return MetricOfSquare(kMetric, SquaredDistance(x, y, dim));
}

// The pairs of a tile that are not far, evaluated again.
template <Metric kMetric, int kHeight>
__attribute__((noinline)) void FinishAgain(const PairwiseBlock& g, int64_t row, int64_t col,
                                           const uint32_t (&far)[kHeight][kVecs]) {
  if (g.stream) Fence();  // what is written again must come last
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v)
      for (uint32_t left = kAllLanes & ~far[r][v]; left; left &= left - 1) {
        const int64_t c = col + v * kLanes + __builtin_ctz(left);
        if (c < g.cols)
          g.out[(row + r) * g.out_stride + c] =
              Exact<kMetric>(g.x + (row + r) * g.dim, g.y + c * g.dim, g.dim);
      }
}

// The metric of the sums of a tile. Results behind the last column are not written. The sums come from
// memory: where they stay in registers, the compiler moves some of them within the loop that makes them.
template <Metric kMetric, int kHeight>
__attribute__((noinline)) void FinishTile(const PairwiseBlock& g, int64_t row, int64_t col) {
  const PairwiseBlock block = g;  // which no store can change: its fields are read once
  Vec tile[kHeight][kVecs];
  uint32_t far[kHeight][kVecs], all_far = kAllLanes;
#pragma GCC unroll 8
  for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      const Vec sum = Load(block.sums + (row + r) * kPanel + v * kLanes);
      tile[r][v] = Finished<kMetric>(block, row + r, col + v * kLanes, sum, far[r][v]);
      all_far &= far[r][v];
    }
  const auto write = [&](const auto& to_memory) {
    float* out = block.out + row * block.out_stride + col;
#pragma GCC unroll 8
    for (int r = 0; r < kHeight; ++r, out += block.out_stride)
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) to_memory(out + v * kLanes, tile[r][v], v);
  };
  const int64_t columns = block.cols - col;
  if (columns < kPanel)
    write([&](float* to, Vec value, int v) { StoreColumns(to, value, columns - v * kLanes); });
  else if (block.stream)
    write([](float* to, Vec value, int) { Stream(to, value); });
  else
    write([](float* to, Vec value, int) { Store(to, value); });
  if (all_far != kAllLanes) FinishAgain<kMetric, kHeight>(g, row, col, far);
}

// out[c * kHeight + r] = in[r * in_stride + c] for kHeight rows. Whole vectors are written where later
// columns overwrite the excess.
template <int kHeight>
inline void TransposeNarrow(const float* in, int64_t in_stride, int64_t cols, float* out) {
  constexpr int kSquares = (kHeight + kLanes - 1) / kLanes;
  int64_t c = 0;
  for (; c + 2 * kLanes <= cols; c += kLanes) {
    Vec squares[kSquares][kLanes];
    for (int r = 0; r < kSquares * kLanes; ++r)
      squares[r / kLanes][r % kLanes] = r < kHeight ? Load(in + r * in_stride + c) : Set(0.0f);
    for (auto& square : squares) Transpose(square);
    for (int i = 0; i < kLanes; ++i)
      for (int s = 0; s < kSquares; ++s) Store(out + (c + i) * kHeight + s * kLanes, squares[s][i]);
  }
  for (; c < cols; ++c)
    for (int r = 0; r < kHeight; ++r) out[c * kHeight + r] = in[r * in_stride + c];
}

// The rows of x tile by tile, each chunk of kDepth columns of a tile transposed: one stream instead of
// kTileRows, which the hardware fetches ahead. The chunk that begins at column k is at out + rows * k, the
// tile that begins at row r there at r * (columns of the chunk).
void PackTiles(const float* x, int64_t rows, int64_t dim, bool max_by_fma, float* out) {
  for (int64_t k = 0; k < dim; k += kDepth) {
    const int64_t depth = dim - k < kDepth ? dim - k : kDepth;
    ForEachTile(
        rows,
        [&](auto height, int64_t row) {
          TransposeNarrow<height.value>(x + row * dim + k, dim, depth, out + rows * k + row * depth);
        },
        TallestTile(max_by_fma));
  }
}

template <Metric kMetric>
void Panels(const PairwiseBlock& g) {
  if (g.rows == 0) return;
  for (int64_t col = 0; col < g.cols; col += kPanel)
    for (int64_t k = 0; k == 0 || k < g.dim; k += kDepth) {
      const int64_t depth = g.dim - k < kDepth ? g.dim - k : kDepth;
      const float* panel = g.panels + col * g.dim + k * kPanel;
      const float* weights = PairOf(kMetric) == Pair::kWeightedAbsolute ? g.weights + k : nullptr;
      const int64_t ahead = depth * kPanel / g.rows;  // of the next part of the panel, for each row
      const auto tile = [&](auto height, int64_t row) {
        constexpr int kHeight = height.value;
        const bool last = k + depth >= g.dim;
        if (last && !g.stream)
          for (int r = 0; r < kHeight; ++r) Prefetch({g.out + (row + r) * g.out_stride + col, kPanel});
        Prefetch({panel + depth * kPanel + ahead * row, ahead * kHeight});
        const Operands o = {depth,       g.tiles + g.rows * k + row * depth, 1, kHeight, panel, weights,
                            g.max_by_fma};
        Accumulate<kHeight, PairOf(kMetric)>(o, k == 0, g.sums + row * kPanel);
        if (last) FinishTile<kMetric, kHeight>(g, row, col);
      };
      ForEachTile(g.rows, tile, TallestTile(g.max_by_fma));
    }
  if (g.stream) Fence();
}

void Block(const PairwiseBlock& block) {
  switch (block.metric) {
    case Metric::kSqeuclidean:
      return Panels<Metric::kSqeuclidean>(block);
    case Metric::kEuclidean:
      return Panels<Metric::kEuclidean>(block);
    case Metric::kCosine:
      return Panels<Metric::kCosine>(block);
    case Metric::kDot:
      return Panels<Metric::kDot>(block);
    case Metric::kManhattan:
      return Panels<Metric::kManhattan>(block);
    case Metric::kWeightedManhattan:
      return Panels<Metric::kWeightedManhattan>(block);
    case Metric::kChebyshev:
      return Panels<Metric::kChebyshev>(block);
  }
}

// The sum of the entries, and of their magnitudes.
void Sums(const float* x, int64_t n, float* sum, float* magnitude) {
  Vec sums = Set(0.0f), magnitudes = Set(0.0f);
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec v = n - i >= kLanes ? Load(x + i) : LoadPartial(x + i, n - i);
    sums = Add(sums, v);
    magnitudes = Add(magnitudes, Abs(v));
  }
  *sum = Sum(sums);
  *magnitude = Sum(magnitudes);
}

constexpr PairwiseKernels MakePairwiseKernels() {
  PairwiseKernels k = {};
  k.pack_tiles = PackTiles;
  k.sums = Sums;
  k.block = Block;
  return k;
}
