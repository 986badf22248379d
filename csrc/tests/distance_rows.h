// SPDX-License-Identifier: MIT
// Rows of distances, and the searches in them by plain loops.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/arrays/rounding.h"
#include "core/simd/triplet_kernels.h"
#include "tests/inputs.h"

namespace fslcore {

// Distances 0 to 15 with NaN and infinities among them, padded with NaN.
inline std::vector<float> RowOfDistances(int64_t n) {
  auto row = Integers(n, 1);
  for (size_t i = 0; i < row.size(); ++i) row[i] = i % 11 == 3 ? NAN : i % 13 == 7 ? INFINITY : row[i] + 8.0f;
  row.resize(static_cast<size_t>(RoundUp(n, simd::kRowPadding)), NAN);
  return row;
}

inline int32_t PlainFarthest(const std::vector<float>& row) {
  int32_t farthest = -1;
  for (size_t i = 0; i < row.size(); ++i)
    if (!std::isnan(row[i]) && (farthest < 0 || row[i] > row[static_cast<size_t>(farthest)]))
      farthest = static_cast<int32_t>(i);
  return farthest;
}

inline int32_t PlainNearestAbove(const std::vector<float>& row, float threshold) {
  int32_t nearest = -1;
  for (size_t i = 0; i < row.size(); ++i)
    if (row[i] > threshold && (nearest < 0 || row[i] < row[static_cast<size_t>(nearest)]))
      nearest = static_cast<int32_t>(i);
  return nearest;
}

}  // namespace fslcore
