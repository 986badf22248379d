// SPDX-License-Identifier: MIT
// Which instruction set the kernels use: the fastest on this CPU, or the one that the environment variable
// FSLCORE_SIMD=portable|avx2|avx512|avx512bf16 asks for. Decided once per process.
#pragma once
#include <string_view>

namespace fslcore {

enum class CpuLevel { kPortable, kAvx2, kAvx512, kAvx512Bf16 };

CpuLevel BestCpuLevel();    // the fastest on this CPU
CpuLevel ActiveCpuLevel();  // the level in use; one that this CPU lacks is lowered to the best it has
std::string_view CpuLevelName(CpuLevel level);

}  // namespace fslcore
