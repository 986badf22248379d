// SPDX-License-Identifier: MIT
// Sorting and running sums of the device's library, CUB, with the caller's memory.
#pragma once
#include <cstdint>

#include "cuda/launch.h"

namespace fslcore::cuda {

// Bytes of `scratch` for either function below on n elements.
int64_t PrimitivesScratch(int64_t n);

// Stable. Every array has n elements; none may overlap another.
void SortByKey(Launches& launches, int64_t n, const int64_t* keys, const int32_t* values,
               int64_t* sorted_keys, int32_t* sorted_values, void* scratch);

// sums[i] = values[0] + ... + values[i].
void RunningSums(Launches& launches, int64_t n, const int32_t* values, int64_t* sums, void* scratch);

}  // namespace fslcore::cuda
