// SPDX-License-Identifier: MIT
#include "core/simd/cpu_level.h"

#include <cstdio>
#include <cstdlib>

namespace fslcore {
namespace {

constexpr CpuLevel kLevels[] = {CpuLevel::kPortable, CpuLevel::kAvx2, CpuLevel::kAvx512,
                                CpuLevel::kAvx512Bf16, CpuLevel::kNeon};

}  // namespace

bool HasCpuLevel([[maybe_unused]] CpuLevel level) {
#if defined(__x86_64__) && !defined(FSLCORE_PORTABLE)
  switch (level) {
    case CpuLevel::kPortable:
      return true;
    case CpuLevel::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case CpuLevel::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    case CpuLevel::kAvx512Bf16:
      // Zen 4 multiplies twice as many bfloat16 as floats (110 against 55 a ns), Sapphire Rapids half as many
      // (42 against 87).
      return HasCpuLevel(CpuLevel::kAvx512) && __builtin_cpu_supports("avx512bf16") &&
             __builtin_cpu_is("amd");
    case CpuLevel::kNeon:
      return false;
  }
  return false;
#elif defined(__aarch64__) && !defined(FSLCORE_PORTABLE)
  return level == CpuLevel::kPortable || level == CpuLevel::kNeon;
#else
  return level == CpuLevel::kPortable;
#endif
}

CpuLevel BestCpuLevel() {
  CpuLevel best = CpuLevel::kPortable;
  for (CpuLevel level : kLevels)
    if (HasCpuLevel(level)) best = level;
  return best;
}

CpuLevel ActiveCpuLevel() {
  static const CpuLevel level = [] {
    const char* asked = std::getenv("FSLCORE_SIMD");
    const CpuLevel best = BestCpuLevel();
    if (!asked || !*asked) return best;
    const std::string_view best_name = CpuLevelName(best);
    for (CpuLevel candidate : kLevels)
      if (CpuLevelName(candidate) == asked) {
        if (HasCpuLevel(candidate)) return candidate;
        std::fprintf(stderr,
                     "fslcore: FSLCORE_SIMD=%s is beyond the best level for this CPU, which is used: %s\n",
                     asked, best_name.data());
        return best;
      }
    std::fprintf(
        stderr,
        "fslcore: FSLCORE_SIMD must be portable, avx2, avx512, avx512bf16 or neon, received '%s'; the best "
        "level for this CPU is used: %s\n",
        asked, best_name.data());
    return best;
  }();
  return level;
}

std::string_view CpuLevelName(CpuLevel level) {
  switch (level) {
    case CpuLevel::kNeon:
      return "neon";
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
