// SPDX-License-Identifier: MIT
// Gram matrices by register tiles of kRows x kPanel pairs. Included once per instruction set, after
// rows_body.inl.

constexpr int kRows = 6;

// The part of a panel that is met at a time, 128 x 64 floats with AVX-512, stays in the L1 cache while all
// rows of a block pass.
constexpr int64_t kDepth = 128;

// A pair whose distance is below this share of what it was subtracted from is evaluated again, coordinate by
// coordinate: it has lost seven bits there, and all of them for equal rows.
constexpr float kNear = 1.0f / 128.0f;

template <int kValue>
struct Height {
  static constexpr int value = kValue;
};

// Splits the rows into tiles of nearly equal height (7 rows are 4 + 3, not 6 + 1): visit(Height, first row).
template <class Visit>
inline void ForEachTile(int64_t rows, const Visit& visit) {
  const int64_t tiles = (rows + kRows - 1) / kRows;
  for (int64_t t = 0, row = 0; t < tiles; ++t) {
    const int64_t height = rows / tiles + (t < rows % tiles ? 1 : 0);
    switch (height) {
      case 1:
        visit(Height<1>{}, row);
        break;
      case 2:
        visit(Height<2>{}, row);
        break;
      case 3:
        visit(Height<3>{}, row);
        break;
      case 4:
        visit(Height<4>{}, row);
        break;
      case 5:
        visit(Height<5>{}, row);
        break;
      default:
        visit(Height<6>{}, row);
    }
    row += height;
  }
}

enum class Pair { kProduct, kMax, kWeightedAbs };

// a(r, k) = a[r * a_row + k * a_k] for the rows of a tile; the other side in `depth` rows of a packed panel.
struct Operands {
  int64_t depth;
  const float* a;
  int64_t a_row, a_k;
  const float* panel;
  const float* weights;  // [depth], for kWeightedAbs
};

// Memory that is needed soon.
struct Ahead {
  const float* begin;
  int64_t floats;
};

inline void Prefetch(Ahead ahead) {
  for (int64_t i = 0; i < ahead.floats; i += 16) __builtin_prefetch(ahead.begin + i);
}

// sums[r, c] = the sum over k of the pair (a(r, k), panel[k, c]), on top of what is there unless `first`.
template <int kHeight, Pair kPair>
__attribute__((noinline)) void Accumulate(const Operands& o, bool first, float* sums) {
  Vec tile[kHeight][kVecs];
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v) tile[r][v] = first ? Set(0.0f) : Load(sums + r * kPanel + v * kLanes);
  const float* panel = o.panel;
  for (int64_t k = 0; k < o.depth; ++k, panel += kPanel) {
    Vec b[kVecs];
    for (int v = 0; v < kVecs; ++v) b[v] = Load(panel + v * kLanes);
    const Vec weight = Set(kPair == Pair::kWeightedAbs ? o.weights[k] : 0.0f);
    for (int r = 0; r < kHeight; ++r) {
      const Vec x = Set(o.a[r * o.a_row + k * o.a_k]);
      for (int v = 0; v < kVecs; ++v) {
        if constexpr (kPair == Pair::kProduct) tile[r][v] = Fma(x, b[v], tile[r][v]);
        if constexpr (kPair == Pair::kMax) tile[r][v] = Add(tile[r][v], Max(x, b[v]));
        if constexpr (kPair == Pair::kWeightedAbs) tile[r][v] = Fma(weight, Abs(Sub(x, b[v])), tile[r][v]);
      }
    }
  }
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v) Store(sums + r * kPanel + v * kLanes, tile[r][v]);
}

// The sum of |x - y| is 2 max(x, y) - x - y, summed: two operations per pair instead of three.
constexpr Pair PairOf(Metric metric) {
  return metric == Metric::kManhattan           ? Pair::kMax
         : metric == Metric::kWeightedManhattan ? Pair::kWeightedAbs
                                                : Pair::kProduct;
}

constexpr uint32_t kAllLanes = (1u << kLanes) - 1;

// The metric of `kLanes` pairs by their sums. `near` gets a bit for each that must be evaluated again; also
// where what it was subtracted from overflows, or holds a NaN.
template <Metric kMetric>
inline Vec Finished(const GramBlock& g, int64_t row, int64_t col, Vec sum, uint32_t& near) {
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
  }
  return sum;
}

template <Metric kMetric>
inline float Exact(const float* x, const float* y, int64_t dim) {
  if constexpr (kMetric == Metric::kManhattan) return AbsoluteDistance(x, y, dim);
  const float squared = SquaredDistance(x, y, dim);
  return kMetric == Metric::kEuclidean ? sqrtf(squared)
         : kMetric == Metric::kCosine  ? 0.5f * squared
                                       : squared;
}

// One row of a panel; what is computed behind the last column is not written.
template <Metric kMetric>
inline void FinishRow(const GramBlock& g, int64_t row, int64_t col, const float* sums) {
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

// The rows of x tile by tile, each chunk of kDepth columns of a tile transposed: one stream instead of kRows,
// which the hardware fetches ahead. The chunk that begins at column k is at out + rows * k, the tile that
// begins at row r there at r * (columns of the chunk).
void PackTiles(const float* x, int64_t rows, int64_t dim, float* out) {
  for (int64_t k = 0; k < dim; k += kDepth) {
    const int64_t depth = dim - k < kDepth ? dim - k : kDepth;
    ForEachTile(rows, [&](auto height, int64_t row) {
      TransposeNarrow<height.value>(x + row * dim + k, dim, depth, out + rows * k + row * depth);
    });
  }
}

template <Metric kMetric>
void GramPanels(const GramBlock& g) {
  for (int64_t col = 0; col < g.cols; col += kPanel)
    for (int64_t k = 0; k == 0 || k < g.dim; k += kDepth) {
      const int64_t depth = g.dim - k < kDepth ? g.dim - k : kDepth;
      const float* panel = g.panels + col * g.dim + k * kPanel;
      const float* weights = PairOf(kMetric) == Pair::kWeightedAbs ? g.weights + k : nullptr;
      ForEachTile(g.rows, [&](auto height, int64_t row) {
        constexpr int kHeight = height.value;
        const bool last = k + depth >= g.dim;
        float* sums = g.sums + row * kPanel;
        float* out = g.out + row * g.out_stride + col;
        if (last && !g.stream)
          for (int r = 0; r < kHeight; ++r) Prefetch({out + r * g.out_stride, kPanel});
        // What comes after this part of the panel, a share with each tile.
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

void Gram(const GramBlock& block) {
  switch (block.metric) {
    case Metric::kSqeuclidean:
      return GramPanels<Metric::kSqeuclidean>(block);
    case Metric::kEuclidean:
      return GramPanels<Metric::kEuclidean>(block);
    case Metric::kCosine:
      return GramPanels<Metric::kCosine>(block);
    case Metric::kDot:
      return GramPanels<Metric::kDot>(block);
    case Metric::kManhattan:
      return GramPanels<Metric::kManhattan>(block);
    case Metric::kWeightedManhattan:
      return GramPanels<Metric::kWeightedManhattan>(block);
  }
}
