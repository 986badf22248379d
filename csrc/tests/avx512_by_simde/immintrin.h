// SPDX-License-Identifier: MIT
// AVX-512 on CPUs that lack it: its intrinsics as the portable functions of SIMDe (Debian: libsimde-dev).
#pragma once
#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <cmath>
#include <cstdint>
#include <cstring>

// The compiler's own types are known without AVX-512, and SIMDe leaves them alone.
#define __m512 simde__m512
#define __m512i simde__m512i
#define __m512d simde__m512d
#define __m512bh simde__m512bh
#define __mmask16 simde__mmask16

// What SIMDe 0.7 lacks, lane by lane.
namespace fslcore::simd::by_lanes {

struct Lanes {
  float at[16];
};

inline Lanes LanesOf(__m512 v) {
  Lanes lanes;
  std::memcpy(lanes.at, &v, sizeof v);
  return lanes;
}

inline __m512 VectorOf(const Lanes& lanes) {
  __m512 v;
  std::memcpy(&v, lanes.at, sizeof v);
  return v;
}

inline __m512 MaskzLoadu(__mmask16 mask, const float* p) {
  Lanes lanes = {};
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1) lanes.at[i] = p[i];
  return VectorOf(lanes);
}

inline void MaskStoreu(float* p, __mmask16 mask, __m512 v) {
  const Lanes lanes = LanesOf(v);
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1) p[i] = lanes.at[i];
}

inline void Stream(float* p, __m512 v) { std::memcpy(p, &v, sizeof v); }

inline __m512i Truncated(__m512 v) {  // the least integer for what fits none
  const Lanes lanes = LanesOf(v);
  int32_t whole[16];
  for (int i = 0; i < 16; ++i)
    whole[i] = std::fabs(lanes.at[i]) < 2147483648.0f ? static_cast<int32_t>(lanes.at[i]) : INT32_MIN;
  __m512i result;
  std::memcpy(&result, whole, sizeof result);
  return result;
}

inline __mmask16 LessUnsigned(__m512i a, __m512i b) {
  uint32_t x[16], y[16];
  std::memcpy(x, &a, sizeof a);
  std::memcpy(y, &b, sizeof b);
  uint32_t mask = 0;
  for (int i = 0; i < 16; ++i) mask |= static_cast<uint32_t>(x[i] < y[i]) << i;
  return static_cast<__mmask16>(mask);
}

// Halves are put together, as the compilers do it.
template <class Operation>
float Reduced(__m512 v, Operation operation) {
  Lanes lanes = LanesOf(v);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes.at[i] = operation(lanes.at[i], lanes.at[i + half]);
  return lanes.at[0];
}

inline float Sum(__m512 v) {
  return Reduced(v, [](float a, float b) { return a + b; });
}

inline float Least(__m512 v) {
  return Reduced(v, [](float a, float b) { return a < b ? a : b; });
}

// Quarters of a, a, b and b, by two bits each.
inline __m512 Quarters(__m512 a, __m512 b, int which) {
  const Lanes from[2] = {LanesOf(a), LanesOf(b)};
  Lanes to;
  for (int i = 0; i < 4; ++i)
    std::memcpy(to.at + 4 * i, from[i / 2].at + 4 * (which >> 2 * i & 3), 4 * sizeof(float));
  return VectorOf(to);
}

}  // namespace fslcore::simd::by_lanes

#define _mm512_maskz_loadu_ps fslcore::simd::by_lanes::MaskzLoadu
#define _mm512_mask_storeu_ps fslcore::simd::by_lanes::MaskStoreu
#define _mm512_stream_ps fslcore::simd::by_lanes::Stream
#define _mm512_cvttps_epi32 fslcore::simd::by_lanes::Truncated
#define _mm512_cmplt_epu32_mask fslcore::simd::by_lanes::LessUnsigned
#define _mm512_reduce_add_ps fslcore::simd::by_lanes::Sum
#define _mm512_reduce_min_ps fslcore::simd::by_lanes::Least
#define _mm512_shuffle_f32x4 fslcore::simd::by_lanes::Quarters

// `Opaque` hides a register from the compiler, and these vectors are in none.
#define asm(...) static_cast<void>(0)
