// SPDX-License-Identifier: MIT
// The k rows that are nearest to each query, float32; core/pairwise/metric.h has the metrics. Nearest are the
// least distances, for `dot` the greatest products. Of equal ones the lowest index comes first, and NaN comes
// after all numbers: the order is total, so that the result is the same for any number of threads, any order
// of the search, and for a query alone or among others.
//
// Sums of products, or of the larger coordinates, find candidates: pairs that may be among the nearest,
// whatever rounding did to the sum. Only these are evaluated coordinate by coordinate, and compared by that
// value:
//   sqeuclidean   sum (x - y)^2                        euclidean   its root
//   cosine        |u - v|^2 / 2 of the rows divided by their lengths; 1 where a row is zero
//   dot           <x, y>                               manhattan   sum |x - y|      chebyshev   max |x - y|
// So equal rows are at distance 0, and the relative error is at most gamma(dim + 2), for cosine absolute and
// gamma(2 dim + 8), for dot gamma(dim) |x| |y|; gamma(k) = k eps / (1 - k eps).
//
// Memory: O(queries * (dim + k)) and a tile for each thread; queries are taken 1024 at a time. The rows are
// neither copied nor prepared: they may have changed since the last call.
//
// Floor, in multiply-adds: queries * rows * dim, as for the product of the matrices; for few queries the time
// to read the rows once.
#pragma once
#include <array>
#include <string>

#include "core/arrays/sizes.h"
#include "core/arrays/views.h"
#include "core/pairwise/metric.h"
#include "core/threads/parallel.h"

namespace fslcore {

// The metrics that have nothing to learn.
inline constexpr std::array<Metric, 6> kSearchMetrics = {Metric::kSqeuclidean, Metric::kEuclidean,
                                                         Metric::kCosine,      Metric::kDot,
                                                         Metric::kManhattan,   Metric::kChebyshev};

// An error message if the arguments do not fit together, empty otherwise.
std::string CheckNearest(Metric metric, int64_t k, const Sizes& queries, const Sizes& rows);
// The same for the number of rows that are real, inside XLA.
std::string CheckNearestRows(int64_t k, int64_t rows);

// values and indices [queries.rows, k], nearest first; 1 <= k <= rows.rows.
void Nearest(const Executor& executor, Metric metric, Matrix<const float> queries, Matrix<const float> rows,
             int64_t k, float* values, int32_t* indices);

}  // namespace fslcore
