// SPDX-License-Identifier: MIT
// What a metric does with the sum of a pair, a row of pairs to a warp.
#pragma once
#include "core/pairwise/distance.h"
#include "cuda/pairwise/pairwise_rows.h"

namespace fslcore::cuda::pairwise {

struct PairwiseArguments {
  Metric metric;
  Activation activation;
  const float *x, *y;  // normalised for cosine
  int64_t rows, cols, dim;
  const float *x_scales, *y_scales;  // what products are subtracted from; null for 0, for cosine 0.5
  const float *weights, *bias;
  bool symmetric;  // y is x
  bool x_aligned, y_aligned;
  float* out;
};

__device__ inline bool CanBeNear(Metric metric) {
  return metric == Metric::kSqeuclidean || metric == Metric::kEuclidean || metric == Metric::kCosine;
}

__device__ inline float ScaleOf(const PairwiseArguments& g, const float* scales, int64_t i) {
  if (scales) return scales[i];
  return g.metric == Metric::kCosine ? 0.5f : 0.0f;
}

// The metric of a pair by its sum; `near` if it must be evaluated again, also where what the sum is
// subtracted from overflows, or holds a NaN.
__device__ inline float Finished(const PairwiseArguments& g, float sum, float scales, bool& near) {
  near = false;
  switch (g.metric) {
    case Metric::kSqeuclidean:
    case Metric::kEuclidean:
      sum = fmaf(-2.0f, sum, scales);
      near = !(kNear * scales < sum);
      return g.metric == Metric::kEuclidean ? sqrtf(sum) : sum;
    case Metric::kCosine:
      // Half of |u|^2 + |v|^2, which is 1 but for the rounding of u and v. A zero row is at distance 1.
      sum = sum == 0.0f ? 1.0f : scales - sum;
      near = !(kNear < sum);
      return sum;
    case Metric::kWeightedManhattan:
      if (g.bias) sum += *g.bias;
      return g.activation == Activation::kSigmoid ? 1.0f / (1.0f + expf(-sum)) : sum;
    default:
      return sum;
  }
}

// By a whole warp, coordinate by coordinate; the same in all lanes.
__device__ inline float Exact(const PairwiseArguments& g, int64_t row, int64_t col) {
  const float *x = g.x + row * g.dim, *y = g.y + col * g.dim;
  const float squared = WarpSum(LaneSum(g.dim, [x, y](int64_t d, float sum) {
    const float difference = x[d] - y[d];
    return fmaf(difference, difference, sum);
  }));
  return MetricOfSquare(g.metric, squared);
}

// How many columns of a row a lane finishes: lane l has first_col + l, first_col + l + 32, ...
template <int kShare>
struct RowShare {
  int64_t first_col;
  float y_scales[kShare];

  __device__ RowShare(const PairwiseArguments& g, int64_t first) : first_col(first) {
    FSLCORE_UNROLL
    for (int q = 0; q < kShare; ++q) y_scales[q] = Col(q) < g.cols ? ScaleOf(g, g.y_scales, Col(q)) : 0.0f;
  }
  __device__ int64_t Col(int q) const { return first_col + Lane() + 32 * q; }
  __device__ bool IsWanted(const PairwiseArguments& g, int64_t row, int q) const {
    return Col(q) < g.cols && (!g.symmetric || Col(q) >= row);
  }

  // Makes the metric of the sums in `values`; by a whole warp.
  __device__ void Finish(const PairwiseArguments& g, int64_t row, float (&values)[kShare]) const {
    const float x_scale = ScaleOf(g, g.x_scales, row);
    unsigned near = 0;
    FSLCORE_UNROLL
    for (int q = 0; q < kShare; ++q) {
      bool again;
      values[q] = Finished(g, values[q], x_scale + y_scales[q], again);
      if (again && IsWanted(g, row, q)) near |= 1u << q;
    }
    if (!CanBeNear(g.metric) || !__any_sync(kWholeWarp, near != 0)) return;
    FSLCORE_UNROLL
    for (int q = 0; q < kShare; ++q)
      for (unsigned lanes = __ballot_sync(kWholeWarp, near >> q & 1u); lanes != 0; lanes &= lanes - 1) {
        const int which = __ffs(static_cast<int>(lanes)) - 1;
        const float exact = Exact(g, row, first_col + which + 32 * q);
        if (Lane() == which) values[q] = exact;
      }
  }
};

}  // namespace fslcore::cuda::pairwise
