// SPDX-License-Identifier: MIT
// The instructions of the tensor cores (sm_80 and later), each with a twin that does the same to the lanes of
// tests/cuda_on_cpu. With g = lane / 4 and t = lane % 4 the lanes hold, of d += a b:
//   d [16, 8]   d[0], d[1]: row g, columns 2t, 2t + 1;  d[2], d[3]: the same of row g + 8
//   TF32        a [16, 8] row g: k = t, row g + 8: k = t, row g: k = t + 4, row g + 8: k = t + 4
//               b [8, 8]  column g: k = t, k = t + 4
//   bfloat16    a [16, 16], b [16, 8]: the same, each register two numbers, k = 2t, 2t + 1 for k = t and
//               k = 2t + 8, 2t + 9 for k = t + 4, the first in the low half
#pragma once
#include "cuda/launch.h"

namespace fslcore::cuda {

#if defined(FSLCORE_CUDA_ON_CPU)

// To the nearest of 11 bits, away from zero between two.
inline uint32_t ToTf32(float value) {
  const uint32_t bits = __float_as_uint(value);
  if (std::isnan(value)) return 0x7fffffffu;
  return std::isinf(value) ? bits : (bits + 0x1000u) & ~0x1fffu;
}

// To the nearest of 8 bits, to the even one between two.
inline uint32_t ToBfloat16s(float low, float high) {
  const auto round = [](float value) {
    const uint32_t bits = __float_as_uint(value);
    return std::isnan(value) ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  };
  return round(low) | round(high) << 16;
}

struct MatrixRegisters {
  uint32_t a[4], b[2];
};

// a(registers, k) and b(registers, k) give number k of those that a lane holds of one row or column.
template <int kNumbers, class Number>
void MultiplyOnCpu(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Number& number) {
  const auto lanes = cuda_on_cpu::Gather(MatrixRegisters{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
  const unsigned lane = cuda_on_cpu::block.lane();
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned lower = i / 2, row = lane / 4, col = lane % 4 * 2 + i % 2;
    double sum = d[i];
    for (unsigned t = 0; t < 4; ++t)
      for (unsigned half = 0; half < 2; ++half)
        for (unsigned n = 0; n < kNumbers; ++n)
          sum += double{number(lanes[row * 4 + t]->a[lower + 2 * half], n)} *
                 double{number(lanes[col * 4 + t]->b[half], n)};
    d[i] = static_cast<float>(sum);
  }
}

inline void MultiplyTf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  MultiplyOnCpu<1>(d, a, b, [](uint32_t bits, unsigned) { return __uint_as_float(bits & ~0x1fffu); });
}

inline void MultiplyBfloat16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  MultiplyOnCpu<2>(d, a, b,
                   [](uint32_t bits, unsigned n) { return __uint_as_float((bits >> (16 * n)) << 16); });
}

#else

__device__ inline uint32_t ToTf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

__device__ inline uint32_t ToBfloat16s(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

__device__ inline void MultiplyTf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline void MultiplyBfloat16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif

}  // namespace fslcore::cuda
