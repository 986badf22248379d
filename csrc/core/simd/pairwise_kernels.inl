// SPDX-License-Identifier: MIT
// Pairwise matrices by register tiles of kTileRows x kPanel pairs.
#pragma once
#include "core/simd/exponential.inl"
#include "core/simd/row_kernels.inl"
#include "core/simd/tiles.inl"

// The rows of a panel that are used at a time, 128 x 64 floats with AVX-512; they stay in the L1 cache while
// all rows of a block pass.
constexpr int64_t kDepth = 128;

// As integers, magnitudes are in their order, and a NaN is above all of them: it stays where the largest is
// sought. What is sought is the least complement, kLargestBits - the magnitude.
constexpr uint32_t kLargestBits = 0x7fffffff;

template <Pair kPair>
inline Vec SumOfNothing() {
  return kPair == Pair::kLargestAbsolute ? SetBits(kLargestBits) : Set(0.0f);
}

// a(r, k) = a[r * a_row + k * a_k] for the rows of a tile; the other side in `depth` rows of a packed panel.
struct Operands {
  int64_t depth;
  const float* a;
  int64_t a_row, a_k;
  const float* panel;
  const float* weights;  // [depth], for kWeightedAbsolute
};

// tile[r, c] = the sum over k of the pair (a(r, k), panel[k, c]), on top of `sums` unless `first`. Of |x - y|
// it sums max(x, y), and 2 max(x, y) - x - y is made of that later: two operations instead of three.
template <int kHeight, Pair kPair>
__attribute__((always_inline)) inline void SumTile(const Operands& o, bool first, const float* sums,
                                                   Vec (&tile)[kHeight][kVecs]) {
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v)
      tile[r][v] = first ? SumOfNothing<kPair>() : Load(sums + r * kPanel + v * kLanes);
  const float* panel = o.panel;
  for (int64_t k = 0; k < o.depth; ++k, panel += kPanel) {
    Vec b[kVecs];
    for (int v = 0; v < kVecs; ++v) b[v] = Load(panel + v * kLanes);
    const Vec weight = Set(kPair == Pair::kWeightedAbsolute ? o.weights[k] : 0.0f);
    for (int r = 0; r < kHeight; ++r) {
      const Vec x = Set(o.a[r * o.a_row + k * o.a_k]);
      for (int v = 0; v < kVecs; ++v) {
        if constexpr (kPair == Pair::kProduct) tile[r][v] = Fma(x, b[v], tile[r][v]);
        if constexpr (kPair == Pair::kAbsolute) tile[r][v] = Add(tile[r][v], Max(x, b[v]));
        if constexpr (kPair == Pair::kWeightedAbsolute)
          tile[r][v] = Fma(weight, Abs(Sub(x, b[v])), tile[r][v]);
        if constexpr (kPair == Pair::kLargestAbsolute)
          tile[r][v] = MinBits(tile[r][v], SubBits(SetBits(kLargestBits), Abs(Sub(x, b[v]))));
      }
    }
  }
}

// The same, from and to memory: sums [kHeight, kPanel].
template <int kHeight, Pair kPair>
__attribute__((noinline)) void Accumulate(const Operands& o, bool first, float* sums) {
  Vec tile[kHeight][kVecs];
  SumTile<kHeight, kPair>(o, first, sums, tile);
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v) Store(sums + r * kPanel + v * kLanes, tile[r][v]);
}

constexpr uint32_t kAllLanes = (1u << kLanes) - 1;

// The metric of `kLanes` pairs by their sums. `near` gets a bit for each that must be evaluated again; also
// where what it was subtracted from overflows, or holds a NaN.
template <Metric kMetric>
inline Vec Finished(const PairwiseBlock& g, int64_t row, int64_t col, Vec sum, uint32_t& near) {
  if constexpr (kMetric == Metric::kSqeuclidean || kMetric == Metric::kEuclidean) {
    const Vec norms = Add(Set(g.x_scales[row]), Load(g.y_scales + col));
    sum = Fma(Set(-2.0f), sum, norms);
    near = kAllLanes & ~Bits(Less(Mul(Set(kNear), norms), sum));
    if constexpr (kMetric == Metric::kEuclidean) sum = Sqrt(sum);
  } else if constexpr (kMetric == Metric::kManhattan) {
    sum = Fma(Set(2.0f), sum, Sub(Set(-g.x_sums[row]), Load(g.y_sums + col)));
    near = kAllLanes & ~Bits(Less(Mul(Set(kNear), Add(Set(g.x_scales[row]), Load(g.y_scales + col))), sum));
  } else if constexpr (kMetric == Metric::kCosine) {
    sum = Sub(Set(1.0f), sum);  // rows of x and y are normalised already
    near = kAllLanes & ~Bits(Less(Set(kNear), sum));
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

// Finishes one row of a panel. Results behind the last column are not written.
template <Metric kMetric>
inline void FinishRow(const PairwiseBlock& g, int64_t row, int64_t col, const float* sums) {
  float* out = g.out + row * g.out_stride + col;
  const int64_t columns = g.cols - col;
  Vec values[kVecs];
  uint32_t near[kVecs] = {}, any = 0;
  for (int v = 0; v < kVecs; ++v) {
    values[v] = Finished<kMetric>(g, row, col + v * kLanes, Load(sums + v * kLanes), near[v]);
    any |= near[v];
  }
  if (columns < kPanel)
    for (int v = 0; v < kVecs; ++v) StoreColumns(out + v * kLanes, values[v], columns - v * kLanes);
  else if (g.stream && !any)
    for (int v = 0; v < kVecs; ++v) Stream(out + v * kLanes, values[v]);
  else
    for (int v = 0; v < kVecs; ++v) Store(out + v * kLanes, values[v]);
  if (!any) return;
  for (int v = 0; v < kVecs; ++v)
    for (; near[v]; near[v] &= near[v] - 1) {
      const int64_t c = v * kLanes + __builtin_ctz(near[v]);
      if (c < columns) out[c] = Exact<kMetric>(g.x + row * g.dim, g.y + (col + c) * g.dim, g.dim);
    }
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
void PackTiles(const float* x, int64_t rows, int64_t dim, float* out) {
  for (int64_t k = 0; k < dim; k += kDepth) {
    const int64_t depth = dim - k < kDepth ? dim - k : kDepth;
    ForEachTile(rows, [&](auto height, int64_t row) {
      TransposeNarrow<height.value>(x + row * dim + k, dim, depth, out + rows * k + row * depth);
    });
  }
}

template <Metric kMetric>
void Panels(const PairwiseBlock& g) {
  for (int64_t col = 0; col < g.cols; col += kPanel)
    for (int64_t k = 0; k == 0 || k < g.dim; k += kDepth) {
      const int64_t depth = g.dim - k < kDepth ? g.dim - k : kDepth;
      const float* panel = g.panels + col * g.dim + k * kPanel;
      const float* weights = PairOf(kMetric) == Pair::kWeightedAbsolute ? g.weights + k : nullptr;
      ForEachTile(g.rows, [&](auto height, int64_t row) {
        constexpr int kHeight = height.value;
        const bool last = k + depth >= g.dim;
        float* sums = g.sums + row * kPanel;
        float* out = g.out + row * g.out_stride + col;
        if (last && !g.stream)
          for (int r = 0; r < kHeight; ++r) Prefetch({out + r * g.out_stride, kPanel});
        // The next part of the panel, a share with each tile.
        Prefetch(
            {panel + (depth * kPanel / g.rows) * row + depth * kPanel, depth * kPanel / g.rows * kHeight});
        Accumulate<kHeight, PairOf(kMetric)>(
            {depth, g.tiles + g.rows * k + row * depth, 1, kHeight, panel, weights}, k == 0, sums);
        if (last)
          for (int r = 0; r < kHeight; ++r) FinishRow<kMetric>(g, row + r, col, sums + r * kPanel);
      });
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
