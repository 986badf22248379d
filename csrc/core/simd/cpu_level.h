// SPDX-License-Identifier: MIT
// Which instruction set the kernels use: the fastest on this CPU, or the one that the environment variable
// FSLCORE_SIMD=portable|avx2|avx512|avx512bf16|neon asks for. Decided once per process.
#pragma once
#include <string_view>

namespace fslcore {

// Those of one architecture in ascending order.
enum class CpuLevel { kPortable, kAvx2, kAvx512, kAvx512Bf16, kNeon };

bool HasCpuLevel(CpuLevel level);  // whether this CPU has it
CpuLevel BestCpuLevel();           // the fastest on this CPU
CpuLevel ActiveCpuLevel();         // the level in use; the best one if this CPU lacks the one asked for
std::string_view CpuLevelName(CpuLevel level);

}  // namespace fslcore
