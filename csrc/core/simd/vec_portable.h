// SPDX-License-Identifier: MIT
// The vector vocabulary of the kernel bodies on any CPU: four lanes, GCC/Clang vector extension.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace fslcore::simd::portable {

typedef float Vec __attribute__((vector_size(16)));
typedef int32_t Mask __attribute__((vector_size(16)));
typedef uint32_t Unsigned __attribute__((vector_size(16)));
constexpr int kLanes = 4;
constexpr int kVecs = 2;  // 6 x 2 accumulators, 2 columns and 1 row fit the 16 registers of SSE2

inline Vec Load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Vec LoadPartial(const float* p, int64_t n) {
  Vec v = {};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
inline void Store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
inline void StorePartial(float* p, Vec v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}
inline void Stream(float* p, Vec v) { Store(p, v); }
inline void Fence() {}
inline void StoreTruncated(int32_t* p, Vec v) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int32_t>(v[i]);
}
inline Vec Set(float s) { return Vec{s, s, s, s}; }
inline Vec Opaque(Vec v) {  // v, of which the compiler knows nothing
#if defined(__x86_64__)
  asm("" : "+x"(v));
#endif
  return v;
}
inline Vec Add(Vec a, Vec b) { return a + b; }
inline Vec Sub(Vec a, Vec b) { return a - b; }
inline Vec Mul(Vec a, Vec b) { return a * b; }
inline Vec Div(Vec a, Vec b) { return a / b; }
inline Vec Fma(Vec a, Vec b, Vec c) { return a * b + c; }
inline Vec Sqrt(Vec a) { return Vec{std::sqrt(a[0]), std::sqrt(a[1]), std::sqrt(a[2]), std::sqrt(a[3])}; }
inline Mask Less(Vec a, Vec b) { return a < b; }
inline Mask Equal(Vec a, Vec b) { return a == b; }
inline Mask And(Mask a, Mask b) { return a & b; }
inline Vec Select(Mask m, Vec a, Vec b) { return m ? a : b; }
inline Vec Min(Vec a, Vec b) { return a < b ? a : b; }  // b when either is NaN, as in SSE
inline Vec MinWhere(Mask m, Vec a, Vec b) { return Min(Select(m, a, b), b); }
inline Vec Max(Vec a, Vec b) { return a > b ? a : b; }
inline Vec MaxOfNumbers(Vec a, Vec b) { return Max(a, b); }  // any of the two, or NaN, for a NaN
inline Vec Abs(Vec a) { return reinterpret_cast<Vec>(reinterpret_cast<Mask>(a) & 0x7fffffff); }
inline Unsigned AsBits(Vec v) { return reinterpret_cast<Unsigned>(v); }
inline Vec SetBits(uint32_t bits) { return reinterpret_cast<Vec>(Unsigned{bits, bits, bits, bits}); }
inline Vec LoadBits(const uint32_t* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Vec SubBits(Vec a, Vec b) { return reinterpret_cast<Vec>(AsBits(a) - AsBits(b)); }
inline Mask LessBits(Vec a, Vec b) { return AsBits(a) < AsBits(b); }
inline Vec MinBits(Vec a, Vec b) { return Select(LessBits(a, b), a, b); }
// Both products of pairs of bfloat16 (bfloat16.inl), added to c.
inline Vec FmaPairs(Vec a, Vec b, Vec c) {
  const auto low_of = [](Vec v) { return reinterpret_cast<Vec>(AsBits(v) << 16); };
  const auto high_of = [](Vec v) { return reinterpret_cast<Vec>(AsBits(v) & 0xffff0000u); };
  return Fma(high_of(a), high_of(b), Fma(low_of(a), low_of(b), c));
}
inline uint32_t Bits(Mask m) {
  return (m[0] ? 1u : 0u) | (m[1] ? 2u : 0u) | (m[2] ? 4u : 0u) | (m[3] ? 8u : 0u);
}
inline float Least(Vec v) {
  const Vec pairs = Min(v, Vec{v[2], v[3], v[0], v[1]});
  return pairs[0] < pairs[1] ? pairs[0] : pairs[1];
}
inline float Sum(Vec v) { return (v[0] + v[2]) + (v[1] + v[3]); }
// a * sign(d): 0 for a zero d, whatever a is, and NaN for NaN; d * 2^126 is at least 1 for every normal d.
inline Vec Signed(Vec a, Vec d) {
  const Vec sign = Min(Set(1.0f), Max(Set(-1.0f), Mul(d, Set(0x1p126f))));
  return Select(Equal(d, Set(0.0f)), Set(0.0f), Mul(a, sign));
}
// kSignUnit * sign(d), and NaN for NaN.
constexpr float kSignUnit = 1.0f;
constexpr bool kSignOfOrdinary = false;
inline Vec Sign(Vec d) { return Min(Set(1.0f), Max(Set(-1.0f), Mul(d, Set(0x1p126f)))); }
// 2^n by the float n + 1.5 * 2^23, -127 < n < 128.
inline Vec PowerOfTwo(Vec shifted) {
  const Mask n = reinterpret_cast<Mask>(shifted) << 23;
  return reinterpret_cast<Vec>(n + reinterpret_cast<Mask>(Set(1.0f)));
}
inline void Transpose(Vec (&rows)[kLanes]) {  // rows become columns
  const Vec a = rows[0], b = rows[1], c = rows[2], d = rows[3];
  for (int i = 0; i < kLanes; ++i) rows[i] = Vec{a[i], b[i], c[i], d[i]};
}

}  // namespace fslcore::simd::portable
