// SPDX-License-Identifier: MIT
// Grids with a thread or a warp for each of n items, in blocks of 256 threads, and reductions over the lanes
// of a warp.
#pragma once
#include "cuda/launch.h"

namespace fslcore::cuda {

constexpr int kWarpSize = 32, kThreads = 256;
constexpr unsigned kWholeWarp = ~0u;
constexpr float kSmallestNormal =
    1.17549435e-38f;  // its reciprocal is finite; the core flushes what is below

inline Grid OneThreadEach(int64_t n) { return {DivideUp(n, kThreads), kThreads}; }
inline Grid OneWarpEach(int64_t n) { return {DivideUp(n, kThreads / kWarpSize), kThreads}; }

__device__ inline int64_t ThreadOfGrid() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }
__device__ inline int64_t WarpOfGrid() { return ThreadOfGrid() / kWarpSize; }
__device__ inline int Lane() { return static_cast<int>(threadIdx.x) % kWarpSize; }

// The same in all lanes, added up in one order.
template <class T>
__device__ T WarpSum(T value) {
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) value += __shfl_xor_sync(kWholeWarp, value, mask);
  return value;
}

__device__ inline float WarpMax(float value) {
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2)
    value = fmaxf(value, __shfl_xor_sync(kWholeWarp, value, mask));
  return value;
}

}  // namespace fslcore::cuda
