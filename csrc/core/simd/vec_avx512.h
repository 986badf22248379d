// SPDX-License-Identifier: MIT
// The vector vocabulary of the kernel bodies with AVX-512 (F, DQ, BW, VL): sixteen lanes.
#pragma once
#include <immintrin.h>

#include <cmath>
#include <cstdint>

namespace fslcore::avx512 {

using Vec = __m512;
using Mask = __mmask16;
constexpr int kLanes = 16;
constexpr int kVecs = 4;  // 6 x 4 accumulators, 4 columns and 1 row fit the 32 registers

inline __mmask16 FirstLanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
inline Vec Load(const float* p) { return _mm512_loadu_ps(p); }
inline Vec LoadPartial(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(FirstLanes(n), p); }
inline void Store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline void StorePartial(float* p, Vec v, int64_t n) { _mm512_mask_storeu_ps(p, FirstLanes(n), v); }
inline Vec Set(float s) { return _mm512_set1_ps(s); }
inline Vec Add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec Sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
inline Vec Mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec Div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
inline Vec Fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec Sqrt(Vec a) { return _mm512_sqrt_ps(a); }
inline Mask Less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline Mask Equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
inline Mask And(Mask a, Mask b) { return static_cast<Mask>(a & b); }
inline Vec Select(Mask m, Vec a, Vec b) { return _mm512_mask_blend_ps(m, b, a); }
inline Vec Min(Vec a, Vec b) { return _mm512_min_ps(a, b); }  // b when either is NaN
inline Vec Max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec Abs(Vec a) { return _mm512_abs_ps(a); }
inline uint32_t Bits(Mask m) { return m; }
inline float Sum(Vec v) { return _mm512_reduce_add_ps(v); }

}  // namespace fslcore::avx512
