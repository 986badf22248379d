// SPDX-License-Identifier: MIT
// The vector vocabulary of the kernel bodies with AVX2 and FMA: eight lanes.
#pragma once
#include <immintrin.h>

#include <cmath>
#include <cstdint>

namespace fslcore::simd::avx2 {

using Vec = __m256;
using Mask = __m256;
constexpr int kLanes = 8;
constexpr int kVecs = 2;  // 6 x 2 accumulators, 2 columns and 1 row fit the 16 registers

inline __m256i FirstLanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Vec Load(const float* p) { return _mm256_loadu_ps(p); }
inline Vec LoadPartial(const float* p, int64_t n) { return _mm256_maskload_ps(p, FirstLanes(n)); }
inline void Store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
inline void StorePartial(float* p, Vec v, int64_t n) { _mm256_maskstore_ps(p, FirstLanes(n), v); }
inline void Stream(float* p, Vec v) { _mm256_stream_ps(p, v); }  // p aligned to the vector
inline void Fence() { _mm_sfence(); }
inline void StoreTruncated(int32_t* p, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_cvttps_epi32(v));
}
inline Vec Set(float s) { return _mm256_set1_ps(s); }
inline Vec Opaque(Vec v) {  // v, of which the compiler knows nothing
  asm("" : "+x"(v));
  return v;
}
inline Vec Add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec Sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
inline Vec Mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
inline Vec Div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
inline Vec Fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec Sqrt(Vec a) { return _mm256_sqrt_ps(a); }
inline Mask Less(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
inline Mask Equal(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
inline Mask And(Mask a, Mask b) { return _mm256_and_ps(a, b); }
inline Vec Select(Mask m, Vec a, Vec b) { return _mm256_blendv_ps(b, a, m); }
inline Vec Min(Vec a, Vec b) { return _mm256_min_ps(a, b); }  // b when either is NaN
inline Vec MinWhere(Mask m, Vec a, Vec b) { return Min(Select(m, a, b), b); }
inline Vec Max(Vec a, Vec b) { return _mm256_max_ps(a, b); }           // b when either is NaN
inline Vec MaxOfNumbers(Vec a, Vec b) { return _mm256_max_ps(a, b); }  // any of the two, or NaN, for a NaN
inline Vec Abs(Vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
inline Vec SetBits(uint32_t bits) { return _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(bits))); }
inline Vec LoadBits(const uint32_t* p) {
  return _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Vec SubBits(Vec a, Vec b) {
  return _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
inline Vec MinBits(Vec a, Vec b) {
  return _mm256_castsi256_ps(_mm256_min_epu32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
inline Mask LessBits(Vec a, Vec b) {  // not (b <= a)
  const __m256i not_less = _mm256_cmpeq_epi32(_mm256_castps_si256(MinBits(a, b)), _mm256_castps_si256(b));
  return _mm256_castsi256_ps(_mm256_xor_si256(not_less, _mm256_set1_epi32(-1)));
}
// Both products of pairs of bfloat16 (bfloat16.inl), added to c.
inline Vec FmaPairs(Vec a, Vec b, Vec c) {
  const Vec high = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(0xffff0000)));
  const auto low_of = [](Vec v) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(v), 16));
  };
  const auto high_of = [=](Vec v) { return _mm256_and_ps(v, high); };
  return Fma(high_of(a), high_of(b), Fma(low_of(a), low_of(b), c));
}
inline uint32_t Bits(Mask m) { return static_cast<uint32_t>(_mm256_movemask_ps(m)); }
inline float Least(Vec v) {
  __m128 s = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_min_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_min_ss(s, _mm_movehdup_ps(s)));
}
inline float Sum(Vec v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
// a * sign(d): 0 for a zero d, whatever a is, and NaN for NaN; d * 2^126 is at least 1 for every normal d.
inline Vec Signed(Vec a, Vec d) {
  const Vec sign = Min(Set(1.0f), Max(Set(-1.0f), Mul(d, Set(0x1p126f))));
  return _mm256_and_ps(Mul(a, sign), _mm256_cmp_ps(d, Set(0.0f), _CMP_NEQ_UQ));
}
// kSignUnit * sign(d), for which d must be neither NaN nor -0: 2 is the float whose bits, as an integer, are
// negated as the float is.
constexpr float kSignUnit = 2.0f;
constexpr bool kSignOfOrdinary = true;
inline Vec Sign(Vec d) {
  return _mm256_castsi256_ps(_mm256_sign_epi32(_mm256_castps_si256(Set(2.0f)), _mm256_castps_si256(d)));
}
// 2^n by the float n + 1.5 * 2^23, -127 < n < 128.
inline Vec PowerOfTwo(Vec shifted) {
  const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_castps_si256(Set(1.0f))));
}
// Rows become columns: pairs of floats, then pairs of pairs, then halves.
inline void Transpose(Vec (&rows)[kLanes]) {
  Vec pairs[kLanes], quads[kLanes];
  for (int i = 0; i < kLanes; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < kLanes; i += 4)
    for (int j = 0; j < 2; ++j) {
      const __m256d a = _mm256_castps_pd(pairs[i + j]), b = _mm256_castps_pd(pairs[i + 2 + j]);
      quads[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
      quads[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
    }
  for (int j = 0; j < 4; ++j) {
    rows[j] = _mm256_permute2f128_ps(quads[j], quads[4 + j], 0x20);
    rows[4 + j] = _mm256_permute2f128_ps(quads[j], quads[4 + j], 0x31);
  }
}

}  // namespace fslcore::simd::avx2
