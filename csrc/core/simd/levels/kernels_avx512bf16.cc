// SPDX-License-Identifier: MIT
#include "core/simd/kernels.h"
#include "core/simd/vec_avx512bf16.h"

namespace fslcore::simd::avx512bf16 {
#include "core/simd/level.inl"
}  // namespace fslcore::simd::avx512bf16
