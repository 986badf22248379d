// SPDX-License-Identifier: MIT
#include "core/simd/kernels.h"
#include "core/simd/vec_neon.h"

namespace fslcore::simd::neon {
#include "core/simd/level.inl"
}  // namespace fslcore::simd::neon
