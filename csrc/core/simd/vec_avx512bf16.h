// SPDX-License-Identifier: MIT
// The vector vocabulary of AVX-512 with its products of bfloat16.
#pragma once
#include "core/simd/vec_avx512.h"

namespace fslcore::simd::avx512bf16 {

using namespace avx512;

inline Vec FmaPairs(Vec a, Vec b, Vec c) {
  return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

}  // namespace fslcore::simd::avx512bf16
