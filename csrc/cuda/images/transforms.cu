// SPDX-License-Identifier: MIT
// Transforms drawn on a GPU, a thread to each.
#include <cmath>

#include "cuda/images/transforms.h"
#include "cuda/threads.h"

namespace fslcore::cuda {
namespace {

__global__ void Draw(const float* distributions, const int64_t* sizes, Vector<const int64_t> numbers,
                     const int64_t* seed, const int64_t* step, float* out) {
  const int64_t i = ThreadOfGrid();
  if (i >= numbers.size) return;
  const AffineSizes of = {sizes[0], sizes[1], sizes[2], sizes[3]};
  const int64_t number = numbers.data[i];
  const bool possible = *seed >= 0 && *step >= 0 && of.height > 0 && of.width > 0 && of.out_height > 0 &&
                        of.out_width > 0 && number >= 0 && number <= kMostPositions;
  if (possible) return affine::DrawTransform(distributions, of, number, *seed, *step, out + 6 * i);
  for (int k = 0; k < 6; ++k) out[6 * i + k] = NAN;
}

}  // namespace

std::string DrawTransforms(Stream stream, const float* distributions, const int64_t* sizes,
                           Vector<const int64_t> numbers, const int64_t* seed, const int64_t* step,
                           float* out) {
  Launches launches(stream, "drawing transforms");
  launches.Run(OneThreadEach(numbers.size), Draw, distributions, sizes, numbers, seed, step, out);
  return launches.problem();
}

}  // namespace fslcore::cuda
