// SPDX-License-Identifier: MIT
// Register tiles, kTileRows x kPanel numbers: how rows are split into tiles, and what is fetched ahead of
// them.
#pragma once
#include "core/simd/row_kernels.inl"

template <int kValue>
struct Height {
  static constexpr int value = kValue;
};

// Splits the rows into tiles of nearly equal height (7 rows are 4 + 3, not 6 + 1): visit(Height, first row).
template <class Visit>
inline void ForEachTile(int64_t rows, const Visit& visit) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
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
  bool max_by_fma;       // for kAbsolute: ManhattanKernels::tile
};
