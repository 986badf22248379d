// SPDX-License-Identifier: MIT
// The instruction sets that this CPU has, with their kernels.
#pragma once
#include <vector>

#include "core/simd/cpu_level.h"
#include "core/simd/kernels.h"

namespace fslcore {

struct Level {
  CpuLevel level;
  const simd::Kernels* kernels;
};

inline std::vector<Level> Levels() {
  std::vector<Level> levels = {{CpuLevel::kPortable, &simd::portable::kKernels}};
#if defined(__x86_64__)
  for (const Level& level : {Level{CpuLevel::kAvx2, &simd::avx2::kKernels},
                             {CpuLevel::kAvx512, &simd::avx512::kKernels},
                             {CpuLevel::kAvx512Bf16, &simd::avx512bf16::kKernels}})
    if (HasCpuLevel(level.level)) levels.push_back(level);
#elif defined(__aarch64__)
  levels.push_back({CpuLevel::kNeon, &simd::neon::kKernels});
#endif
  return levels;
}

}  // namespace fslcore
