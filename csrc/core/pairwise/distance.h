// SPDX-License-Identifier: MIT
// What the SIMD kernels, the C++ core and the CUDA kernels share of the metrics. Functions have internal
// linkage: the linker must not keep the copy of a file that was built for AVX-512 for all others.
#pragma once
#include <math.h>

#include "core/arrays/host_device.h"
#include "core/pairwise/metric.h"

namespace fslcore {

// A pair whose distance is below this share of what it was subtracted from is evaluated again, coordinate by
// coordinate: it has lost seven bits there, and all of them for equal rows.
inline constexpr float kNear = 1.0f / 128.0f;

// The metric of two rows, normalised ones for cosine, by squared = |x - y|^2; metric is sqeuclidean,
// euclidean or cosine, for which |x - y|^2 / 2 = 1 - <x, y>.
FSLCORE_HOST_DEVICE static inline float MetricOfSquare(Metric metric, float squared) {
  return metric == Metric::kEuclidean ? sqrtf(squared) : metric == Metric::kCosine ? 0.5f * squared : squared;
}

}  // namespace fslcore
