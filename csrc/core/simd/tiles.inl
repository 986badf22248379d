// SPDX-License-Identifier: MIT
// Register tiles, kTileRows x kPanel numbers: how rows are split into tiles, and what is fetched ahead of
// them.
#pragma once
#include "core/simd/row_kernels.inl"

template <int kValue>
struct Height {
  static constexpr int value = kValue;
};

// visit(Height<height>).
template <class Visit>
inline void WithHeight(int64_t height, const Visit& visit) {
  switch (height) {
    case 1:
      return visit(Height<1>{});
    case 2:
      return visit(Height<2>{});
    case 3:
      return visit(Height<3>{});
    case 4:
      return visit(Height<4>{});
    case 5:
      return visit(Height<5>{});
    default:
      visit(Height<6>{});
  }
}

// Splits the rows into tiles of nearly equal height (7 rows are 4 + 3, not 6 + 1), the taller ones first:
// visit(Height, first row, number of tiles) for those of one height.
template <class Visit>
inline void ForEachRun(int64_t rows, const Visit& visit, int64_t tallest = kTileRows) {
  const int64_t tiles = (rows + tallest - 1) / tallest;
  if (tiles == 0) return;
  const int64_t low = rows / tiles, taller = rows % tiles;
  for (int64_t low_ones = taller == 0; low_ones < 2; ++low_ones)
    WithHeight(low_ones ? low : low + 1, [&](auto height) {
      visit(height, low_ones ? taller * (low + 1) : 0, low_ones ? tiles - taller : taller);
    });
}

// visit(Height, first row) for each tile.
template <class Visit>
inline void ForEachTile(int64_t rows, const Visit& visit, int64_t tallest = kTileRows) {
  ForEachRun(
      rows,
      [&](auto height, int64_t row, int64_t tiles) {
        for (int64_t t = 0; t < tiles; ++t) visit(height, row + t * height.value);
      },
      tallest);
}

// The tallest tile of max(x, y) by multiply-adds (ManhattanKernels::absolute_tile), and of all others. The
// one that it multiplies by takes a register: with 16 of them, a tile of 6 x 2 would push a sum into memory,
// where it takes three times as long to add to it.
inline int64_t TallestTile(bool max_by_fma) { return max_by_fma && kVecs == 2 ? kTileRows - 1 : kTileRows; }

// Memory that is needed soon.
struct Ahead {
  const float* begin;
  int64_t floats;
};

inline void Prefetch(Ahead ahead) {
  for (int64_t i = 0; i < ahead.floats; i += 16) __builtin_prefetch(ahead.begin + i);
}

// a(r, k) = a[r * a_row + k * a_k] for the rows of a tile; the other side in `depth` rows of a packed panel.
struct Operands {
  int64_t depth;
  const float* a;
  int64_t a_row, a_k;
  const float* panel;
  const float* weights;  // [depth], for kWeightedAbsolute
  bool max_by_fma;       // for kAbsolute: the form of ManhattanKernels::absolute_tile
};
