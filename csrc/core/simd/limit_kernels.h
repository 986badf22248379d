// SPDX-License-Identifier: MIT
// The kernel that measures the peak rate of the floating-point units.
#pragma once
#include <cstdint>

namespace fslcore::simd {

struct LimitKernels {
  // `steps` fused multiply-adds on every lane of a register tile; *result depends on all of them, and comes
  // to 2 for each lane. Returns the number of floating-point operations.
  int64_t (*multiply_adds)(int64_t steps, float* result);
};

const LimitKernels& Limits();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
