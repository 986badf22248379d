// SPDX-License-Identifier: MIT
#include "core/simd/cpu_level.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace fslcore {

CpuLevel BestCpuLevel() {
#if defined(__x86_64__) && !defined(FSLCORE_PORTABLE)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    // Zen 4 multiplies twice as many bfloat16 as floats (110 against 55 a ns), Sapphire Rapids half as many
    // (42 against 87).
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_is("amd") ? CpuLevel::kAvx512Bf16
                                                                           : CpuLevel::kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return CpuLevel::kAvx2;
#endif
  return CpuLevel::kPortable;
}

CpuLevel ActiveCpuLevel() {
  static const CpuLevel level = [] {
    const char* asked = std::getenv("FSLCORE_SIMD");
    const CpuLevel best = BestCpuLevel();
    if (!asked || !*asked) return best;
    const std::string_view best_name = CpuLevelName(best);
    for (CpuLevel candidate :
         {CpuLevel::kPortable, CpuLevel::kAvx2, CpuLevel::kAvx512, CpuLevel::kAvx512Bf16})
      if (CpuLevelName(candidate) == asked) {
        if (candidate > best)
          std::fprintf(stderr,
                       "fslcore: FSLCORE_SIMD=%s is beyond the best level for this CPU, which is used: %s\n",
                       asked, best_name.data());
        return std::min(candidate, best);
      }
    std::fprintf(
        stderr,
        "fslcore: FSLCORE_SIMD must be portable, avx2, avx512 or avx512bf16, received '%s'; the best "
        "level for this CPU is used: %s\n",
        asked, best_name.data());
    return best;
  }();
  return level;
}

std::string_view CpuLevelName(CpuLevel level) {
  switch (level) {
    case CpuLevel::kAvx512Bf16:
      return "avx512bf16";
    case CpuLevel::kAvx512:
      return "avx512";
    case CpuLevel::kAvx2:
      return "avx2";
    case CpuLevel::kPortable:
      break;
  }
  return "portable";
}

}  // namespace fslcore
