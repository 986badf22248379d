// SPDX-License-Identifier: MIT
#include "core/simd/kernels.h"
#include "core/simd/vec_avx512.h"

namespace fslcore::simd::avx512 {
#include "core/simd/level.inl"
}  // namespace fslcore::simd::avx512
