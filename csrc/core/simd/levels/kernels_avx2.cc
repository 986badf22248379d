// SPDX-License-Identifier: MIT
#include "core/simd/kernels.h"
#include "core/simd/vec_avx2.h"

namespace fslcore::simd::avx2 {
#include "core/simd/level.inl"
}  // namespace fslcore::simd::avx2
