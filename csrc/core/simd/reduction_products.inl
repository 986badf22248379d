// SPDX-License-Identifier: MIT
// The products of the gradient of reductions over pairs, by register tiles.
#pragma once
#include "core/simd/row_kernels.inl"
#include "core/simd/tiles.inl"

// kHeight rows of coefficients with a panel of `cols` rows of y. The tile stays in registers if all loops
// over it are unrolled early.
template <int kHeight>
__attribute__((noinline)) void ReducedTile(const ReducedProduct& g, int64_t row) {
  const float* a = g.a + row * g.a_stride;
  float* dx = g.dx + row * kPanel;
  Vec tile[kHeight][kVecs];
#pragma GCC unroll 8
  for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) tile[r][v] = Load(dx + r * kPanel + v * kLanes);
  // The rows of y in the next panel, a share with each tile.
  const int64_t share = g.cols * kPanel / g.rows;
  Prefetch({g.next_panel + share * row, share * kHeight});
  const float* panel = g.y_panel;
  for (int64_t c = 0; c < g.cols; ++c, panel += kPanel) {
    Vec b[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) b[v] = Load(panel + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kHeight; ++r) {
      const Vec x = Set(a[r * g.a_stride + c]);
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) tile[r][v] = Fma(x, b[v], tile[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) Store(dx + r * kPanel + v * kLanes, tile[r][v]);
}

template <class Tile>
inline void ForEachTileThatIsNotZero(const ReducedProduct& g, const Tile& tile) {
  ForEachTile(g.rows, [&](auto height, int64_t row) {
    bool is_zero = true;
    for (int r = 0; r < height.value; ++r) is_zero = is_zero && g.is_zero[row + r];
    if (!is_zero) tile(height, row);
  });
}

void ProductOfReduced(const ReducedProduct& g) {
  ForEachTileThatIsNotZero(g, [&](auto height, int64_t row) { ReducedTile<height.value>(g, row); });
}

void SignsOfReduced(const ReducedProduct& g) {
  ForEachTileThatIsNotZero(g, [&](auto height, int64_t row) {
    constexpr int kHeight = height.value;
    for (int v = 0; v < kVecs; ++v) {
      Vec x[kHeight], dx[kHeight];
      for (int r = 0; r < kHeight; ++r) {
        const int64_t at = (row + r) * kPanel + v * kLanes;
        x[r] = Load(g.x_panel + at);
        dx[r] = Load(g.dx + at);
      }
      for (int64_t c = 0; c < g.cols; ++c) {
        const Vec y = Load(g.y_panel + c * kPanel + v * kLanes);
        for (int r = 0; r < kHeight; ++r)
          dx[r] = Add(dx[r], Signed(Set(g.a[(row + r) * g.a_stride + c]), Sub(x[r], y)));
      }
      for (int r = 0; r < kHeight; ++r) Store(g.dx + (row + r) * kPanel + v * kLanes, dx[r]);
    }
  });
}

// kHeight columns of coefficients with the listed rows of a panel of x.
template <int kHeight>
__attribute__((noinline)) void MirroredTile(const ReducedProduct& g, int64_t col) {
  float* dy = g.dy + col * kPanel;
  Vec tile[kHeight][kVecs];
#pragma GCC unroll 8
  for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) tile[r][v] = Load(dy + r * kPanel + v * kLanes);
  Prefetch({dy + kHeight * kPanel, kHeight * kPanel});  // of the next tile
  for (int64_t k = 0; k < g.listed_rows; ++k) {
    const float* a = g.a + g.listed[k] * g.a_stride + col;
    const float* panel = g.x_panel + g.listed[k] * kPanel;
    Vec b[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) b[v] = Load(panel + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) tile[r][v] = Fma(Set(a[r]), b[v], tile[r][v]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kHeight; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) Store(dy + r * kPanel + v * kLanes, tile[r][v]);
}

void MirroredProduct(const ReducedProduct& g) {
  ForEachTile(g.cols, [&](auto height, int64_t col) { MirroredTile<height.value>(g, col); });
}

void MirroredSigns(const ReducedProduct& g) {
  for (int64_t c = 0; c < g.cols; ++c)
    for (int v = 0; v < kVecs; ++v) {
      const Vec y = Load(g.y_panel + c * kPanel + v * kLanes);
      float* to = g.dy + c * kPanel + v * kLanes;
      Vec dy = Load(to);
      for (int64_t k = 0; k < g.listed_rows; ++k) {
        const Vec x = Load(g.x_panel + g.listed[k] * kPanel + v * kLanes);
        dy = Add(dy, Signed(Set(g.a[g.listed[k] * g.a_stride + c]), Sub(y, x)));
      }
      Store(to, dy);
    }
}
