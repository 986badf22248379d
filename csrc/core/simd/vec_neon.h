// SPDX-License-Identifier: MIT
// The vector vocabulary of the kernel bodies on ARM, AArch64, whose every CPU has it: four lanes.
#pragma once
#include <arm_neon.h>

#include <cstdint>

namespace fslcore::simd::neon {

using Vec = float32x4_t;
using Mask = uint32x4_t;
constexpr int kLanes = 4;
constexpr int kVecs = 4;  // 6 x 4 accumulators, 4 columns and 1 row fit the 32 registers

inline Vec Load(const float* p) { return vld1q_f32(p); }
inline Vec LoadPartial(const float* p, int64_t n) {
  if (n >= kLanes) return Load(p);
  Vec v = vdupq_n_f32(0.0f);
  if (n > 0) v = vld1q_lane_f32(p, v, 0);
  if (n > 1) v = vld1q_lane_f32(p + 1, v, 1);
  if (n > 2) v = vld1q_lane_f32(p + 2, v, 2);
  return v;
}
inline void Store(float* p, Vec v) { vst1q_f32(p, v); }
inline void StorePartial(float* p, Vec v, int64_t n) {
  if (n >= kLanes) return Store(p, v);
  if (n > 0) vst1q_lane_f32(p, v, 0);
  if (n > 1) vst1q_lane_f32(p + 1, v, 1);
  if (n > 2) vst1q_lane_f32(p + 2, v, 2);
}
inline void Stream(float* p, Vec v) { Store(p, v); }
inline void Fence() {}
inline void StoreTruncated(int32_t* p, Vec v) { vst1q_s32(p, vcvtq_s32_f32(v)); }
inline Vec Set(float s) { return vdupq_n_f32(s); }
inline Vec Opaque(Vec v) {  // v, of which the compiler knows nothing
  asm("" : "+w"(v));
  return v;
}
inline Vec Add(Vec a, Vec b) { return vaddq_f32(a, b); }
inline Vec Sub(Vec a, Vec b) { return vsubq_f32(a, b); }
inline Vec Mul(Vec a, Vec b) { return vmulq_f32(a, b); }
inline Vec Div(Vec a, Vec b) { return vdivq_f32(a, b); }
inline Vec Fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
inline Vec Sqrt(Vec a) { return vsqrtq_f32(a); }
inline Mask Less(Vec a, Vec b) { return vcltq_f32(a, b); }
inline Mask Equal(Vec a, Vec b) { return vceqq_f32(a, b); }
inline Mask And(Mask a, Mask b) { return vandq_u32(a, b); }
inline Vec Select(Mask m, Vec a, Vec b) { return vbslq_f32(m, a, b); }
inline Vec Min(Vec a, Vec b) { return Select(Less(a, b), a, b); }  // b when either is NaN, as in SSE
inline Vec MinWhere(Mask m, Vec a, Vec b) { return Select(And(m, Less(a, b)), a, b); }
inline Vec Max(Vec a, Vec b) { return Select(Less(b, a), a, b); }
inline Vec MaxOfNumbers(Vec a, Vec b) { return vmaxq_f32(a, b); }
inline Vec Abs(Vec a) { return vabsq_f32(a); }
inline Vec SetBits(uint32_t bits) { return vreinterpretq_f32_u32(vdupq_n_u32(bits)); }
inline Vec LoadBits(const uint32_t* p) { return vreinterpretq_f32_u32(vld1q_u32(p)); }
inline Vec SubBits(Vec a, Vec b) {
  return vreinterpretq_f32_u32(vsubq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}
inline Vec MinBits(Vec a, Vec b) {
  return vreinterpretq_f32_u32(vminq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}
inline Mask LessBits(Vec a, Vec b) { return vcltq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)); }
// Both products of pairs of bfloat16 (bfloat16.inl), added to c.
inline Vec FmaPairs(Vec a, Vec b, Vec c) {
  const auto low_of = [](Vec v) { return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(v), 16)); };
  const auto high_of = [](Vec v) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), vdupq_n_u32(0xffff0000u)));
  };
  return Fma(high_of(a), high_of(b), Fma(low_of(a), low_of(b), c));
}
inline uint32_t Bits(Mask m) {
  const uint32x4_t places = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(m, places));
}
inline float Least(Vec v) { return vminnmvq_f32(v); }
inline float Sum(Vec v) { return vaddvq_f32(v); }
// kSignUnit * sign(d), and NaN for NaN; d * 2^126 is at least 1 for every normal d.
constexpr float kSignUnit = 1.0f;
constexpr bool kSignOfOrdinary = false;
inline Vec Sign(Vec d) { return vminq_f32(Set(1.0f), vmaxq_f32(Set(-1.0f), Mul(d, Set(0x1p126f)))); }
// a * sign(d): 0 for a zero d, whatever a is, and NaN for NaN.
inline Vec Signed(Vec a, Vec d) { return Select(Equal(d, Set(0.0f)), Set(0.0f), Mul(a, Sign(d))); }
// 2^n by the float n + 1.5 * 2^23, -127 < n < 128.
inline Vec PowerOfTwo(Vec shifted) {
  const int32x4_t n = vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23);
  return vreinterpretq_f32_s32(vaddq_s32(n, vreinterpretq_s32_f32(Set(1.0f))));
}
inline void Transpose(Vec (&rows)[kLanes]) {  // rows become columns
  const float32x4x2_t top = vtrnq_f32(rows[0], rows[1]), bottom = vtrnq_f32(rows[2], rows[3]);
  rows[0] = vcombine_f32(vget_low_f32(top.val[0]), vget_low_f32(bottom.val[0]));
  rows[1] = vcombine_f32(vget_low_f32(top.val[1]), vget_low_f32(bottom.val[1]));
  rows[2] = vcombine_f32(vget_high_f32(top.val[0]), vget_high_f32(bottom.val[0]));
  rows[3] = vcombine_f32(vget_high_f32(top.val[1]), vget_high_f32(bottom.val[1]));
}

}  // namespace fslcore::simd::neon
