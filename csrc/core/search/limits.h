// SPDX-License-Identifier: MIT
// What a pair's sum says about its metric, whatever was rounded: the scales and offsets of rows and the
// limits of queries by which candidates are told from other pairs. The core and the CUDA kernels share them.
//
// With n = dim, each of these is off by less than gamma(n + 8) of the magnitudes that enter it: the sum of
// the pair, the squares and sums of the rows, and the metric as it is evaluated in the end. Slack() is four
// times that, and enough for all of them together. Where something overflows, or a length is extreme, sums do
// not judge: the pairs of such a row or query are all candidates.
#pragma once
#include <math.h>

#include <cstdint>
#include <limits>

#include "core/arrays/host_device.h"
#include "core/pairwise/metric.h"

namespace fslcore::search {

FSLCORE_HOST_DEVICE inline float Slack(int64_t dim) { return static_cast<float>(dim + 8) * 0x1p-22f; }
// What can be lost below the normal numbers, in all.
FSLCORE_HOST_DEVICE inline float Underflow(int64_t dim) { return static_cast<float>(dim + 8) * 0x1p-120f; }

struct OfRow {
  float scale = 1.0f, offset = 0.0f;
};

struct OfQuery {
  float square = 0.0f;  // |y|^2 for sqeuclidean and euclidean; for manhattan sum y
  float length = 0.0f;  // |y| for dot; for manhattan sum |y|
};

// `square` is |x|^2. For manhattan it is sum x, and `magnitude` is sum |x|.
FSLCORE_HOST_DEVICE inline OfRow RowTerms(Metric metric, int64_t dim, float square, float magnitude) {
  const bool ordinary = square >= 0x1p-80f && square <= 0x1p80f;
  OfRow row = {1.0f, 0.0f};
  switch (metric) {
    case Metric::kSqeuclidean:
    case Metric::kEuclidean:  // <x, y> - |x|^2 / 2
      row.offset = -0.5f * square * (1.0f - Slack(dim));
      break;
    case Metric::kCosine:  // <x, y> / |x|, y of length 1
      row = {ordinary ? 1.0f / sqrtf(square) : 1.0f, ordinary ? 0.0f : NAN};
      break;
    case Metric::kDot:  // <x, y>, y of length 1, and what it may be more
      row.offset = ordinary ? Slack(dim) * sqrtf(square) : NAN;
      break;
    case Metric::kManhattan:  // sum x - 2 sum max(x, y)
      row = {-2.0f, square + Slack(dim) * magnitude};
      break;
    default:  // the largest difference
      row.scale = -1.0f;
      break;
  }
  if (row.offset - row.offset != 0.0f) row.offset = NAN;  // infinite
  return row;
}

// The limit of a query whose k-th nearest row has the value `worst`.
FSLCORE_HOST_DEVICE inline float LimitOf(Metric metric, int64_t dim, const OfQuery& query, float worst) {
  const float more = 1.0f + Slack(dim), less = 1.0f - Slack(dim);
  float limit = -worst;  // chebyshev: both are exact
  switch (metric) {
    case Metric::kSqeuclidean:  // |y|^2 / 2 - |x - y|^2 / 2
      limit = 0.5f * query.square * less - 0.5f * worst * more;
      break;
    case Metric::kEuclidean:
      limit = 0.5f * query.square * less - 0.5f * worst * worst * more;
      break;
    case Metric::kCosine:
      limit = 1.0f - worst - 2.0f * Slack(dim);
      break;
    case Metric::kDot:
      limit = worst / query.length;
      limit -= fabsf(limit) * 0x1p-20f;
      break;
    case Metric::kManhattan:  // -sum y - sum |x - y|
      limit = -query.square - Slack(dim) * query.length - worst * more;
      break;
    default:
      break;
  }
  limit -= Underflow(dim);
  return limit - limit == 0.0f ? limit : -INFINITY;
}

}  // namespace fslcore::search
