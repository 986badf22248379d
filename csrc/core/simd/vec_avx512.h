// SPDX-License-Identifier: MIT
// The vector vocabulary of the kernel bodies with AVX-512 (F, DQ, BW, VL): sixteen lanes.
#pragma once
#include <immintrin.h>

#include <cmath>
#include <cstdint>

namespace fslcore::simd::avx512 {

using Vec = __m512;
using Mask = __mmask16;
constexpr int kLanes = 16;
constexpr int kVecs = 4;  // 6 x 4 accumulators, 4 columns and 1 row fit the 32 registers

inline __mmask16 FirstLanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
inline Vec Load(const float* p) { return _mm512_loadu_ps(p); }
inline Vec LoadPartial(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(FirstLanes(n), p); }
inline void Store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline void StorePartial(float* p, Vec v, int64_t n) { _mm512_mask_storeu_ps(p, FirstLanes(n), v); }
inline void Stream(float* p, Vec v) { _mm512_stream_ps(p, v); }  // p aligned to the vector
inline void Fence() { _mm_sfence(); }
inline void StoreTruncated(int32_t* p, Vec v) { _mm512_storeu_si512(p, _mm512_cvttps_epi32(v)); }
inline Vec Set(float s) { return _mm512_set1_ps(s); }
inline Vec Opaque(Vec v) {  // v, of which the compiler knows nothing
  asm("" : "+v"(v));
  return v;
}
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
inline Vec Min(Vec a, Vec b) { return _mm512_min_ps(a, b); }                          // b when either is NaN
inline Vec MinWhere(Mask m, Vec a, Vec b) { return _mm512_mask_min_ps(b, m, a, b); }  // b elsewhere
inline Vec Max(Vec a, Vec b) { return _mm512_max_ps(a, b); }                          // b when either is NaN
inline Vec MaxOfNumbers(Vec a, Vec b) { return _mm512_max_ps(a, b); }  // any of the two, or NaN, for a NaN
inline Vec Abs(Vec a) { return _mm512_abs_ps(a); }
inline Vec SetBits(uint32_t bits) { return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(bits))); }
inline Vec LoadBits(const uint32_t* p) { return _mm512_castsi512_ps(_mm512_loadu_si512(p)); }
inline Vec SubBits(Vec a, Vec b) {
  return _mm512_castsi512_ps(_mm512_sub_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
inline Vec MinBits(Vec a, Vec b) {
  return _mm512_castsi512_ps(_mm512_min_epu32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
inline Mask LessBits(Vec a, Vec b) {
  return _mm512_cmplt_epu32_mask(_mm512_castps_si512(a), _mm512_castps_si512(b));
}
// Both products of pairs of bfloat16 (bfloat16.inl), added to c.
inline Vec FmaPairs(Vec a, Vec b, Vec c) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000));
  const auto low_of = [](Vec v) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(v), 16));
  };
  const auto high_of = [=](Vec v) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), high));
  };
  return Fma(high_of(a), high_of(b), Fma(low_of(a), low_of(b), c));
}
inline uint32_t Bits(Mask m) { return m; }
inline float Least(Vec v) { return _mm512_reduce_min_ps(v); }
inline float Sum(Vec v) { return _mm512_reduce_add_ps(v); }
// a * sign(d): 0 for a zero d, whatever a is, and NaN for NaN. The sign bit of d flips a; the table then puts
// in what zeros and NaNs give.
inline Vec Signed(Vec a, Vec d) {
  const __m512i flipped = _mm512_ternarylogic_epi32(_mm512_castps_si512(a), _mm512_castps_si512(d),
                                                    _mm512_set1_epi32(INT32_MIN), 0x78);
  return _mm512_fixupimm_ps(_mm512_castsi512_ps(flipped), d, _mm512_set1_epi32(0x822), 0);
}
// kSignUnit * sign(d), by a table: 0 for zeros, and NaN for NaN.
constexpr float kSignUnit = 1.0f;
constexpr bool kSignOfOrdinary = false;
inline Vec Sign(Vec d) {
  return _mm512_fixupimm_ps(d, d, _mm512_set1_epi32(static_cast<int>(0xa9a9a822)), 0);
}
// 2^n by the float n + 1.5 * 2^23, -127 < n < 128.
inline Vec PowerOfTwo(Vec shifted) {
  const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_castps_si512(Set(1.0f))));
}
// Rows become columns: pairs of floats, then pairs of pairs, then a 4 x 4 of quarters.
inline void Transpose(Vec (&rows)[kLanes]) {
  Vec pairs[kLanes], quads[kLanes];
  for (int i = 0; i < kLanes; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < kLanes; i += 4)
    for (int j = 0; j < 2; ++j) {
      const __m512d a = _mm512_castps_pd(pairs[i + j]), b = _mm512_castps_pd(pairs[i + 2 + j]);
      quads[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      quads[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
  for (int j = 0; j < 4; ++j) {
    const Vec even_low = _mm512_shuffle_f32x4(quads[j], quads[4 + j], 0x88);
    const Vec odd_low = _mm512_shuffle_f32x4(quads[j], quads[4 + j], 0xdd);
    const Vec even_high = _mm512_shuffle_f32x4(quads[8 + j], quads[12 + j], 0x88);
    const Vec odd_high = _mm512_shuffle_f32x4(quads[8 + j], quads[12 + j], 0xdd);
    rows[j] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
    rows[4 + j] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    rows[8 + j] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
    rows[12 + j] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
  }
}

}  // namespace fslcore::simd::avx512
