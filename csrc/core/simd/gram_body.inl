// SPDX-License-Identifier: MIT
// Register tiles of kRows x kPanel pairs. Included once per instruction set, after rows_body.inl.

constexpr int kRows = 6;

// A pair whose squared distance is below this share of |x|^2 + |y|^2 is evaluated again as sum (x - y)^2:
// the expanded form |x|^2 + |y|^2 - 2<x, y> has lost seven bits there, and all of them for equal rows.
constexpr float kNear = 1.0f / 128.0f;

enum class Pair { kProduct, kAbs, kWeightedAbs };

template <int kHeight, Pair kPair>
inline void Accumulate(int64_t depth, const float* a, int64_t a_row, int64_t a_k, const float* panel,
                       const float* weights, Vec (&sums)[kHeight][kVecs]) {
  for (int64_t k = 0; k < depth; ++k, panel += kPanel) {
    Vec b[kVecs];
    for (int v = 0; v < kVecs; ++v) b[v] = Load(panel + v * kLanes);
    const Vec weight = kPair == Pair::kWeightedAbs ? Set(weights[k]) : Set(0.0f);
    for (int r = 0; r < kHeight; ++r) {
      const Vec x = Set(a[r * a_row + k * a_k]);
      for (int v = 0; v < kVecs; ++v) {
        if constexpr (kPair == Pair::kProduct) sums[r][v] = Fma(x, b[v], sums[r][v]);
        if constexpr (kPair == Pair::kAbs) sums[r][v] = Add(sums[r][v], Abs(Sub(x, b[v])));
        if constexpr (kPair == Pair::kWeightedAbs) sums[r][v] = Fma(weight, Abs(Sub(x, b[v])), sums[r][v]);
      }
    }
  }
}

inline void StoreColumns(float* out, Vec value, int64_t columns) {
  if (columns >= kLanes)
    Store(out, value);
  else if (columns > 0)
    StorePartial(out, value, columns);
}

template <int kHeight, Pair kPair>
void GramTile(const GramBlock& g, int64_t row, int64_t col) {
  Vec sums[kHeight][kVecs];
  for (auto& line : sums)
    for (Vec& sum : line) sum = Set(0.0f);
  Accumulate<kHeight, kPair>(g.dim, g.x + row * g.dim, g.dim, 1, g.panels + col * g.dim, g.weights, sums);

  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v) {
      const int64_t first = col + v * kLanes, columns = g.cols - first;
      if (columns <= 0) break;
      Vec value = sums[r][v];
      uint32_t near = 0;
      if (g.metric == Metric::kSqeuclidean || g.metric == Metric::kEuclidean) {
        const Vec norms = Add(Set(g.x_norms[row + r]), Load(g.y_norms + first));
        value = Fma(Set(-2.0f), value, norms);
        near = ~Bits(Less(Mul(Set(kNear), norms), value));  // and where norms overflow, or hold a NaN
        if (g.metric == Metric::kEuclidean) value = Sqrt(value);
      } else if (g.metric == Metric::kCosine) {
        value = Sub(Set(1.0f), value);  // rows of x and y are normalised already
        near = ~Bits(Less(Set(kNear), value));
      } else if (g.metric == Metric::kWeightedManhattan) {
        value = Add(value, Set(g.bias));
      }
      float* out = g.out + (row + r) * g.out_stride + first;
      StoreColumns(out, value, columns);
      for (; near; near &= near - 1) {
        const int64_t c = __builtin_ctz(near);
        if (c >= columns || c >= kLanes) break;
        const float d = SquaredDistance(g.x + (row + r) * g.dim, g.y + (first + c) * g.dim, g.dim);
        out[c] = g.metric == Metric::kSqeuclidean ? d : g.metric == Metric::kEuclidean ? sqrtf(d) : 0.5f * d;
      }
      if (g.activation == Activation::kSigmoid)
        for (int64_t c = 0; c < columns && c < kLanes; ++c) out[c] = 1.0f / (1.0f + expf(-out[c]));
    }
}

template <int kHeight>
void ProductTile(const ProductBlock& p, int64_t row, int64_t col) {
  Vec sums[kHeight][kVecs];
  for (auto& line : sums)
    for (Vec& sum : line) sum = Set(0.0f);
  Accumulate<kHeight, Pair::kProduct>(p.depth, p.a + row * p.a_row, p.a_row, p.a_k, p.panels + col * p.depth,
                                      nullptr, sums);
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kVecs; ++v)
      StoreColumns(p.out + (row + r) * p.cols + col + v * kLanes, sums[r][v], p.cols - col - v * kLanes);
}

template <Pair kPair>
struct GramTiles {
  template <int kHeight>
  static void Run(const GramBlock& g, int64_t row, int64_t col) {
    GramTile<kHeight, kPair>(g, row, col);
  }
};

struct ProductTiles {
  template <int kHeight>
  static void Run(const ProductBlock& p, int64_t row, int64_t col) {
    ProductTile<kHeight>(p, row, col);
  }
};

// Splits the rows into tiles of nearly equal height (7 rows are 4 + 3, not 6 + 1) and walks panel by panel,
// so that a panel stays in cache while all rows pass.
template <class Tiles, class Block>
void ForEachTile(const Block& block) {
  const int64_t tiles = (block.rows + kRows - 1) / kRows;
  for (int64_t col = 0; col < block.cols; col += kPanel)
    for (int64_t t = 0, row = 0; t < tiles; ++t) {
      const int64_t height = block.rows / tiles + (t < block.rows % tiles ? 1 : 0);
      switch (height) {
        case 1:
          Tiles::template Run<1>(block, row, col);
          break;
        case 2:
          Tiles::template Run<2>(block, row, col);
          break;
        case 3:
          Tiles::template Run<3>(block, row, col);
          break;
        case 4:
          Tiles::template Run<4>(block, row, col);
          break;
        case 5:
          Tiles::template Run<5>(block, row, col);
          break;
        default:
          Tiles::template Run<6>(block, row, col);
      }
      row += height;
    }
}

void Gram(const GramBlock& block) {
  if (block.metric == Metric::kManhattan)
    ForEachTile<GramTiles<Pair::kAbs>>(block);
  else if (block.metric == Metric::kWeightedManhattan)
    ForEachTile<GramTiles<Pair::kWeightedAbs>>(block);
  else
    ForEachTile<GramTiles<Pair::kProduct>>(block);
}

void Product(const ProductBlock& block) { ForEachTile<ProductTiles>(block); }

// sign(d), exact at 0, NaN for NaN: d * 2^126 is at least 1 for every normal d, and clamped to it.
inline Vec Sign(Vec d) { return Min(Set(1.0f), Max(Set(-1.0f), Mul(d, Set(0x1p126f)))); }

template <int kHeight, bool kTotals>
void SignTile(const SignBlock& s, int64_t row, int64_t col) {
  Vec x[kHeight][kVecs], sums[kHeight][kVecs], totals[kVecs];
  for (int v = 0; v < kVecs; ++v) {
    const int64_t columns = s.cols - col - v * kLanes;
    totals[v] = Set(0.0f);
    for (int r = 0; r < kHeight; ++r) {
      const float* p = s.x + (row + r) * s.cols + col + v * kLanes;
      x[r][v] = columns >= kLanes ? Load(p) : columns > 0 ? LoadPartial(p, columns) : Set(0.0f);
      sums[r][v] = Set(0.0f);
    }
  }
  const float* panel = s.panels + col * s.depth;
  for (int64_t k = 0; k < s.depth; ++k, panel += kPanel)
    for (int r = 0; r < kHeight; ++r) {
      const Vec a = Set(s.a[(row + r) * s.a_row + k * s.a_k]);
      for (int v = 0; v < kVecs; ++v) {
        const Vec d = Sub(x[r][v], Load(panel + v * kLanes));
        if constexpr (kTotals) {
          const Vec signed_a = Mul(Sign(d), a);
          sums[r][v] = Add(sums[r][v], signed_a);
          totals[v] = Fma(signed_a, d, totals[v]);
        } else {
          sums[r][v] = Fma(Sign(d), a, sums[r][v]);
        }
      }
    }
  for (int v = 0; v < kVecs; ++v) {
    const int64_t first = col + v * kLanes, columns = s.cols - first;
    if (columns <= 0) break;
    Vec weights = Set(1.0f);
    if (s.weights)
      weights = columns >= kLanes ? Load(s.weights + first) : LoadPartial(s.weights + first, columns);
    for (int r = 0; r < kHeight; ++r)
      StoreColumns(s.out + (row + r) * s.cols + first, Mul(weights, sums[r][v]), columns);
    if constexpr (kTotals) {
      float* out = s.abs_differences + first;
      const Vec before = columns >= kLanes ? Load(out) : LoadPartial(out, columns);
      StoreColumns(out, Add(before, totals[v]), columns);
    }
  }
}

template <bool kTotals>
void SignTiles(const SignBlock& s) {
  for (int64_t col = 0; col < s.cols; col += kPanel) {
    int64_t row = 0;
    for (; row + 2 <= s.rows; row += 2) SignTile<2, kTotals>(s, row, col);
    if (row < s.rows) SignTile<1, kTotals>(s, row, col);
  }
}

void Signs(const SignBlock& s) {
  if (!s.abs_differences) return SignTiles<false>(s);
  for (int64_t c = 0; c < s.cols; ++c) s.abs_differences[c] = 0.0f;
  SignTiles<true>(s);
}

float Coefficients(Metric metric, Activation activation, const float* grad, const float* out, int64_t n,
                   float* coefficients) {
  const Vec one = Set(1.0f), zero = Set(0.0f);
  Vec sum = zero;
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t left = n - i;
    Vec c = left >= kLanes ? Load(grad + i) : LoadPartial(grad + i, left);
    if (metric == Metric::kSqeuclidean) {
      c = Add(c, c);
    } else if (metric == Metric::kEuclidean || activation == Activation::kSigmoid) {
      const Vec k = left >= kLanes ? Load(out + i) : LoadPartial(out + i, left);
      if (metric == Metric::kEuclidean)
        c = Select(Equal(k, zero), zero, Div(c, k));
      else
        c = Mul(c, Mul(k, Sub(one, k)));
    } else if (metric == Metric::kCosine) {
      c = Sub(zero, c);
    }
    sum = Add(sum, c);
    StoreColumns(coefficients + i, c, left);
  }
  return Sum(sum);
}
