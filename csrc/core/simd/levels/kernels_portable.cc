// SPDX-License-Identifier: MIT
#include "core/simd/kernels.h"
#include "core/simd/vec_portable.h"

namespace fslcore::simd::portable {
#include "core/simd/level.inl"
}  // namespace fslcore::simd::portable
