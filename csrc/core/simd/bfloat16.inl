// SPDX-License-Identifier: MIT
// Floats rounded to bfloat16, two in the bits of one float, as the convolutions multiply them.
#pragma once

// The upper half of the nearest float whose lower half is zero; between two, of the even one.
inline uint32_t RoundToBfloat16(float x) {
  const uint32_t bits = FloatBits(x);
  const uint32_t nearest = bits + 0x7fff + (bits >> 16 & 1), quiet = bits | 0x400000;
  return (x == x ? nearest : quiet) >> 16;
}

void PairNeighbours(const float* in, int64_t rows, int64_t cols, float* out) {
  // Byte by byte, which the compiler turns into vectors; x86 and ARM have the lower half first.
  auto* halves = reinterpret_cast<unsigned char*>(out);
  const auto put = [&halves](const float* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const auto half = static_cast<uint16_t>(RoundToBfloat16(x[i]));
      __builtin_memcpy(halves + 2 * i, &half, 2);
    }
    halves += 2 * n;
  };
  if (cols % 2 == 0) return put(in, rows * cols);
  const float zero = 0.0f;
  for (int64_t r = 0; r < rows; ++r) {
    put(in + r * cols, cols);
    put(&zero, 1);
  }
}

void PairRows(const float* first, const float* second, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i)
    out[i] = BitsFloat(RoundToBfloat16(first[i]) | RoundToBfloat16(second ? second[i] : 0.0f) << 16);
}
