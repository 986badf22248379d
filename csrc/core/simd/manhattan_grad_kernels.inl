// SPDX-License-Identifier: MIT
// Gradients of manhattan, weighted_manhattan and chebyshev: a block of coefficients meets a panel of columns
// of either side once, for both gradients and that of the weights.
#pragma once
#include "core/simd/manhattan_kernels.inl"
#include "core/simd/row_kernels.inl"

template <int kHeight, bool kMaxByFma>
int64_t AbsoluteTileOf(const AbsoluteTile& t) {
  AccumulateDifferences<kHeight, Pair::kAbsolute>({t.depth, t.tile, 1, kHeight, t.panel, nullptr, kMaxByFma},
                                                  false, t.sums);
  return kHeight;
}

// Sign(d) is right for what differences of these are: no NaN; never -0, which a difference becomes only if
// it is subnormal, and flushed.
inline bool AreOrdinary(Vec v) {
  const Vec magnitude = Abs(v);
  const uint32_t finite = Bits(Less(magnitude, Set(__builtin_inff())));
  const uint32_t tiny = Bits(Less(magnitude, Set(0x1p-102f))) & ~Bits(Equal(v, Set(0.0f)));
  return (finite & ~tiny) == (1u << kLanes) - 1;
}

bool PackSigns(const float* y, int64_t rows, int64_t dim, int64_t first, float* out) {
  bool ordinary = true;
  for (int64_t k = 0; k < rows; ++k, out += kPanel)
    for (int v = 0; v < kVecs; ++v) {
      const int64_t left = dim - first - v * kLanes;
      const float* p = y + k * dim + first + v * kLanes;
      const Vec value = Add(left >= kLanes ? Load(p)
                            : left > 0     ? LoadPartial(p, left)
                                           : Set(0.0f),
                            Set(0.0f));
      if constexpr (kSignOfOrdinary) ordinary &= AreOrdinary(value);
      Store(out + v * kLanes, value);
    }
  return ordinary;
}

// Rows of x, their gradients, subtracted from zero, and what they give to the gradient of the weights; in one
// vector of columns, in registers while all of y passes.
template <int kHeight>
struct SignRows {
  Vec x[kHeight], less_dx[kHeight], totals[kHeight];
};

// Rows of x meet `kCols` rows of y, from row `c` on. The fast form takes four instructions a pair and vector:
// the difference, its sign, and a multiply-add for either gradient; one for |x - y| and one for its product
// with the coefficient in addition. Products with a sign are exact, so that both forms have the same bits.
// Two rows of y at a time: the additions to the gradient of one wait for each other, those to two overlap.
template <int kHeight, int kCols, bool kTotals, bool kFast>
inline void MeetColumns(const SignGradBlock& g, const float* a, int64_t c, int v, bool first_of_dy,
                        SignRows<kHeight>& rows) {
  Vec y[kCols], dy[kCols];
  for (int i = 0; i < kCols; ++i) {
    const int64_t at = (c + i) * kPanel + v * kLanes;
    y[i] = Load(g.y_panel + at);
    dy[i] = first_of_dy ? Set(0.0f) : Load(g.dy + at);
  }
  for (int r = 0; r < kHeight; ++r)
    for (int i = 0; i < kCols; ++i) {
      const Vec coefficient = Set(a[r * g.a_stride + c + i]), difference = Sub(y[i], rows.x[r]);
      if constexpr (kFast) {
        const Vec sign = Sign(difference);
        rows.less_dx[r] = Fma(coefficient, sign, rows.less_dx[r]);
        dy[i] = Fma(coefficient, sign, dy[i]);
        if constexpr (kTotals) rows.totals[r] = Fma(coefficient, Abs(difference), rows.totals[r]);
      } else {
        const Vec signed_a = Signed(coefficient, difference), term = Mul(Set(kSignUnit), signed_a);
        rows.less_dx[r] = Add(rows.less_dx[r], term);
        dy[i] = Add(dy[i], term);
        if constexpr (kTotals) rows.totals[r] = Fma(signed_a, difference, rows.totals[r]);
      }
    }
  for (int i = 0; i < kCols; ++i) Store(g.dy + (c + i) * kPanel + v * kLanes, dy[i]);
}

template <int kHeight, bool kTotals, bool kFast>
void SignTile(const SignGradBlock& block, int64_t row, int v) {
  const SignGradBlock g = block;  // stores of vectors might change the original, for all the compiler knows
  float* dx = g.dx + row * kPanel + v * kLanes;
  SignRows<kHeight> rows;
  for (int r = 0; r < kHeight; ++r) {
    rows.x[r] = Load(g.x_panel + (row + r) * kPanel + v * kLanes);
    rows.less_dx[r] = g.first_of_dx ? Set(0.0f) : Sub(Set(0.0f), Load(dx + r * kPanel));
    rows.totals[r] = Set(0.0f);
  }
  const float* a = g.a + row * g.a_stride;
  const bool first_of_dy = g.first_of_dy && row == 0;
  int64_t c = 0;
  for (; c + 2 <= g.cols; c += 2) MeetColumns<kHeight, 2, kTotals, kFast>(g, a, c, v, first_of_dy, rows);
  if (c < g.cols) MeetColumns<kHeight, 1, kTotals, kFast>(g, a, c, v, first_of_dy, rows);
  for (int r = 0; r < kHeight; ++r) Store(dx + r * kPanel, Sub(Set(0.0f), rows.less_dx[r]));
  if constexpr (kTotals) {
    Vec totals = Load(g.abs_differences + v * kLanes);
    for (int r = 0; r < kHeight; ++r) totals = Add(totals, rows.totals[r]);
    Store(g.abs_differences + v * kLanes, totals);
  }
}

// The coefficients of the next tile, and a share of the rows of y that the next block needs.
template <int kHeight>
inline void PrefetchSigns(const SignGradBlock& g, int64_t row) {
  for (int64_t r = row + kHeight; r < g.rows && r < row + 2 * kHeight; ++r)
    Prefetch({g.a + r * g.a_stride, g.cols});
  if (g.next_y_panel == nullptr) return;
  const int64_t begin = g.cols * row / g.rows, rows = g.cols * (row + kHeight) / g.rows - begin;
  Prefetch({g.next_y_panel + begin * kPanel, rows * kPanel});
  Prefetch({g.next_dy + begin * kPanel, rows * kPanel});
}

template <int kHeight, bool kTotals, bool kFast>
inline int64_t SignTilesOf(const SignGradBlock& g, int64_t row) {
  for (; row + kHeight <= g.rows; row += kHeight) {
    PrefetchSigns<kHeight>(g, row);
    for (int v = 0; v < kVecs; ++v) SignTile<kHeight, kTotals, kFast>(g, row, v);
  }
  return row;
}

template <bool kTotals, bool kFast>
void SignTiles(const SignGradBlock& g) {
  SignTilesOf<1, kTotals, kFast>(g, SignTilesOf<4, kTotals, kFast>(g, 0));
}

void SignGrad(const SignGradBlock& g) {
  g.abs_differences ? SignTiles<true, false>(g) : SignTiles<false, false>(g);
}

void FastSignGrad(const SignGradBlock& g) {
  g.abs_differences ? SignTiles<true, true>(g) : SignTiles<false, true>(g);
}

void FinishSigns(const SignGradRows& g) {
  const Vec scale = Set(1.0f / kSignUnit);
  const int64_t panels = (g.dim + kPanel - 1) / kPanel;
  for (int64_t r = 0; r < g.rows; ++r)
    for (int64_t p = 0; p < panels; ++p)
      for (int v = 0; v < kVecs; ++v) {
        const int64_t column = p * kPanel + v * kLanes, left = g.dim - column;
        if (left <= 0) break;
        Vec sum = Set(0.0f);
        for (int64_t copy = 0; copy < g.copies; ++copy)
          sum = Add(sum, Load(g.gradient + (copy * panels + p) * g.panel_stride + r * kPanel + v * kLanes));
        sum = Mul(sum, scale);
        if (g.weights != nullptr)
          sum = Mul(sum, left >= kLanes ? Load(g.weights + column) : LoadPartial(g.weights + column, left));
        StoreColumns(g.out + r * g.dim + column, sum, left);
      }
}

float Slopes(Activation activation, const float* grad, const float* out, int64_t n, float* slopes) {
  Vec sum = Set(0.0f);
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto read = [&](const float* p) {
      return n - i >= kLanes ? Load(p + i) : LoadPartial(p + i, n - i);
    };
    Vec slope = read(grad);
    if (activation == Activation::kSigmoid) {
      const Vec value = read(out);
      slope = Mul(slope, Mul(value, Sub(Set(1.0f), value)));
    }
    sum = Add(sum, slope);
    StoreColumns(slopes + i, slope, n - i);
  }
  return Sum(sum);
}

// The first d with |x[d] - y[d]| = distance, which is not 0; n if there is none.
inline int64_t FirstAtDistance(const float* x, const float* y, int64_t n, float distance) {
  for (int64_t d = 0; d < n; d += kLanes) {
    const Vec difference = n - d >= kLanes ? Sub(Load(x + d), Load(y + d))
                                           : Sub(LoadPartial(x + d, n - d), LoadPartial(y + d, n - d));
    const uint32_t found = Bits(Equal(Abs(difference), Set(distance)));
    if (found != 0) return d + __builtin_ctz(found);
  }
  return n;
}

void LargestGrad(const LargestGradBlock& g) {
  for (int64_t r = 0; r < g.rows; ++r)
    for (int64_t c = 0; c < g.cols; ++c) {
      const float distance = g.out[r * g.stride + c];
      const float *x = g.x + r * g.dim, *y = g.y + c * g.dim;
      float *dx = g.dx + r * g.dim, *dy = g.dy + c * g.dim;
      if (distance == 0.0f) continue;
      if (distance != distance) {
        for (int64_t d = 0; d < g.dim; ++d) dx[d] = dy[d] = distance;
        continue;
      }
      const int64_t d = FirstAtDistance(x, y, g.dim, distance);
      if (d == g.dim) continue;
      const float grad = g.grad[r * g.stride + c], term = x[d] < y[d] ? -grad : grad;
      dx[d] += term;
      dy[d] -= term;
    }
}

constexpr ManhattanKernels MakeManhattanKernels() {
  ManhattanKernels k = {};
  k.absolute_tile[0] = AbsoluteTileOf<kTileRows, false>;
  k.absolute_tile[1] = AbsoluteTileOf < kVecs == 2 ? kTileRows - 1 : kTileRows, true > ;
  k.sign_unit = kSignUnit;
  k.pack_signs = PackSigns;
  k.sign_grad = SignGrad;
  k.fast_sign_grad = FastSignGrad;
  k.finish_signs = FinishSigns;
  k.slopes = Slopes;
  k.largest_grad = LargestGrad;
  return k;
}
