// SPDX-License-Identifier: MIT
// The nearest rows by plain loops, for the core and the CUDA kernels.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "core/search/nearest.h"
#include "tests/pairwise_loops.h"

namespace fslcore {

struct FoundRows {
  std::vector<float> values;
  std::vector<int32_t> indices;
};

inline bool HasNan(const float* row, int64_t dim) {
  return std::any_of(row, row + dim, [](float value) { return std::isnan(value); });
}

// Of rows whose sums are exact; not for cosine.
inline FoundRows PlainNearest(Metric metric, Matrix<const float> queries, Matrix<const float> rows,
                              int64_t k) {
  FoundRows found;
  for (int64_t q = 0; q < queries.rows; ++q) {
    std::vector<std::tuple<bool, double, int32_t>> order;
    for (int64_t r = 0; r < rows.rows; ++r) {
      double value = SumsOfPair(metric, queries.row(q), rows.row(r), rows.cols, nullptr).sum;
      if (metric == Metric::kEuclidean) value = std::sqrt(value);
      const bool missing = HasNan(queries.row(q), rows.cols) || HasNan(rows.row(r), rows.cols);
      order.emplace_back(missing,
                         missing                  ? 0.0
                         : metric == Metric::kDot ? -value
                                                  : value,
                         static_cast<int32_t>(r));
    }
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < k; ++i) {
      const auto [missing, value, row] = order[static_cast<size_t>(i)];
      found.values.push_back(static_cast<float>(missing                  ? NAN
                                                : metric == Metric::kDot ? 0.0 - value
                                                                         : value));
      found.indices.push_back(row);
    }
  }
  return found;
}

inline bool SameValues(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])))) return false;
  return true;
}

}  // namespace fslcore
