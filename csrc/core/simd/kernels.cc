// SPDX-License-Identifier: MIT
#include "core/simd/kernels.h"

#include "core/simd/cpu_level.h"

namespace fslcore {

const SimdKernels& Simd() {
#if defined(__x86_64__) && !defined(FSLCORE_PORTABLE)
  switch (ActiveCpuLevel()) {
    case CpuLevel::kAvx512Bf16:
      return avx512bf16::kKernels;
    case CpuLevel::kAvx512:
      return avx512::kKernels;
    case CpuLevel::kAvx2:
      return avx2::kKernels;
    case CpuLevel::kPortable:
      break;
  }
#endif
  return portable::kKernels;
}

}  // namespace fslcore
