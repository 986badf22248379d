// SPDX-License-Identifier: MIT
#include "cuda/primitives.h"

#if defined(FSLCORE_CUDA_ON_CPU)
#include <algorithm>
#include <numeric>
#include <vector>
#else
#include <thrust/iterator/transform_iterator.h>

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#endif

#include <algorithm>

namespace fslcore::cuda {

#if defined(FSLCORE_CUDA_ON_CPU)

int64_t PrimitivesScratch(int64_t) { return 0; }

void SortByKey(Launches&, int64_t n, const int64_t* keys, const int32_t* values, int64_t* sorted_keys,
               int32_t* sorted_values, void*) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [keys](int64_t a, int64_t b) { return keys[a] < keys[b]; });
  for (int64_t i = 0; i < n; ++i) {
    sorted_keys[i] = keys[order[static_cast<size_t>(i)]];
    sorted_values[i] = values[order[static_cast<size_t>(i)]];
  }
}

void RunningSums(Launches&, int64_t n, const int32_t* values, int64_t* sums, void*) {
  int64_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sums[i] = sum += values[i];
}

#else

namespace {

// CUB adds up in the type of what it reads.
struct Widen {
  __host__ __device__ int64_t operator()(int32_t value) const { return value; }
};

cudaError_t Sort(void* scratch, size_t& bytes, const int64_t* keys, int64_t* sorted_keys,
                 const int32_t* values, int32_t* sorted_values, int64_t n, Stream stream) {
  return cub::DeviceRadixSort::SortPairs(scratch, bytes, keys, sorted_keys, values, sorted_values, n, 0, 64,
                                         stream);
}

cudaError_t Sum(void* scratch, size_t& bytes, const int32_t* values, int64_t* sums, int64_t n,
                Stream stream) {
  const auto wide = thrust::make_transform_iterator(values, Widen{});
  return cub::DeviceScan::InclusiveSum(scratch, bytes, wide, sums, n, stream);
}

}  // namespace

int64_t PrimitivesScratch(int64_t n) {
  size_t sort = 0, sum = 0;
  Sort(nullptr, sort, nullptr, nullptr, nullptr, nullptr, n, nullptr);
  Sum(nullptr, sum, nullptr, nullptr, n, nullptr);
  return static_cast<int64_t>(std::max({sort, sum, size_t{1}}));
}

void SortByKey(Launches& launches, int64_t n, const int64_t* keys, const int32_t* values,
               int64_t* sorted_keys, int32_t* sorted_values, void* scratch) {
  if (n == 0 || !launches.problem().empty()) return;
  auto bytes = static_cast<size_t>(PrimitivesScratch(n));
  launches.Check(Sort(scratch, bytes, keys, sorted_keys, values, sorted_values, n, launches.stream()));
}

void RunningSums(Launches& launches, int64_t n, const int32_t* values, int64_t* sums, void* scratch) {
  if (n == 0 || !launches.problem().empty()) return;
  auto bytes = static_cast<size_t>(PrimitivesScratch(n));
  launches.Check(Sum(scratch, bytes, values, sums, n, launches.stream()));
}

#endif

}  // namespace fslcore::cuda
