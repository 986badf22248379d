// SPDX-License-Identifier: MIT
#include "core/images/transforms.h"

#include <cmath>

namespace fslcore {

std::string CheckTransformSizes(const Sizes& distributions, const Sizes& sizes, const Sizes& seed,
                                const Sizes& step) {
  return FirstOf({CheckSizes("distributions", distributions, {kAffineParameters, kDistributionSizes}),
                  CheckSizes("sizes", sizes, {4}), CheckAxes("seed", seed, 0), CheckAxes("step", step, 0)});
}

std::string CheckTransformValues(const float* distributions, const int64_t* sizes,
                                 Vector<const int64_t> numbers, int64_t seed, int64_t step) {
  for (int64_t i = 0; i < kAffineParameters * kDistributionSizes; ++i)
    if (!std::isfinite(distributions[i])) return "distributions must be finite, received NaN or infinity";
  for (int64_t i = 0; i < kAffineParameters; ++i)
    if (const float p = distributions[i * kDistributionSizes + 2]; p < 0.0f || p > 1.0f)
      return "distributions must have probabilities from 0 to 1, received " + std::to_string(p);
  for (int64_t i = 0; i < 4; ++i)
    if (sizes[i] < 1 || sizes[i] > kMostPositions)
      return "sizes must be from 1 to 2^31 - 1, received " + std::to_string(sizes[i]);
  for (int64_t i = 0; i < numbers.size; ++i)
    if (numbers.data[i] < 0 || numbers.data[i] > kMostPositions)
      return "numbers must be from 0 to 2^31 - 1, received " + std::to_string(numbers.data[i]);
  return FirstOf({CheckAtLeast("seed", 0, seed), CheckAtLeast("step", 0, step)});
}

void DrawTransforms(const Executor& executor, const float* distributions, const AffineSizes& sizes,
                    Vector<const int64_t> numbers, int64_t seed, int64_t step, float* out) {
  constexpr int64_t kTransformsWorthAThread = 64;  // of about a microsecond each
  ParallelFor(executor, numbers.size, kTransformsWorthAThread, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      affine::DrawTransform(distributions, sizes, numbers.data[i], seed, step, out + 6 * i);
  });
}

}  // namespace fslcore
