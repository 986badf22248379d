// SPDX-License-Identifier: MIT
// Bytes of images: quarter turns, and their conversion to floats.
#pragma once

#if defined(__x86_64__)
// Transposes a block of 8 x 8 bytes: rows are zipped to pairs, these to fours, and these to columns of eight,
// two to a vector.
void TransposeBlock(const uint8_t* in, int64_t in_step, uint8_t* out, int64_t out_step) {
  const auto row = [in, in_step](int r) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(in + r * in_step));
  };
  const auto store = [out, out_step](int column, __m128i two) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + column * out_step), two);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + (column + 1) * out_step), _mm_unpackhi_epi64(two, two));
  };
  const __m128i a = _mm_unpacklo_epi8(row(0), row(1)), b = _mm_unpacklo_epi8(row(2), row(3));
  const __m128i c = _mm_unpacklo_epi8(row(4), row(5)), d = _mm_unpacklo_epi8(row(6), row(7));
  const __m128i top[2] = {_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b)};
  const __m128i bottom[2] = {_mm_unpacklo_epi16(c, d), _mm_unpackhi_epi16(c, d)};
  for (int half = 0; half < 2; ++half) {
    store(4 * half, _mm_unpacklo_epi32(top[half], bottom[half]));
    store(4 * half + 2, _mm_unpackhi_epi32(top[half], bottom[half]));
  }
}
#else
// Transposes a block of 8 x 8 bytes by swapping blocks of 4, 2 and 1 inside 64-bit rows (Warren, "Hacker's
// Delight", 7-3); byte 0 of a row is its lowest, as on every machine that TensorFlow runs on.
void TransposeBlock(const uint8_t* in, int64_t in_step, uint8_t* out, int64_t out_step) {
  uint64_t rows[8];
  for (int r = 0; r < 8; ++r) __builtin_memcpy(&rows[r], in + r * in_step, 8);
  const auto swap = [&rows](int r, int distance, uint64_t mask) {
    const uint64_t difference = ((rows[r] >> (8 * distance)) ^ rows[r + distance]) & mask;
    rows[r + distance] ^= difference;
    rows[r] ^= difference << (8 * distance);
  };
  for (int r : {0, 1, 2, 3}) swap(r, 4, 0x00000000FFFFFFFFu);
  for (int r : {0, 1, 4, 5}) swap(r, 2, 0x0000FFFF0000FFFFu);
  for (int r : {0, 2, 4, 6}) swap(r, 1, 0x00FF00FF00FF00FFu);
  for (int r = 0; r < 8; ++r) __builtin_memcpy(out + r * out_step, &rows[r], 8);
}
#endif

// By blocks, four times faster than byte by byte. One turn is the transpose with its rows in reverse order,
// three turns the transpose of the image with its rows reversed.
void QuarterTurn(const uint8_t* image, int64_t size, int64_t turns, uint8_t* out) {
  for (int64_t row = 0; row < size; row += 8)
    for (int64_t col = 0; col < size; col += 8) {
      const int64_t r = row < size - 8 ? row : size - 8;  // the last blocks overlap
      const int64_t c = col < size - 8 ? col : size - 8;
      if (turns == 1)
        TransposeBlock(image + r * size + c, size, out + (size - 1 - c) * size + r, -size);
      else
        TransposeBlock(image + (size - 1 - r) * size + c, -size, out + c * size + r, size);
    }
}

void ScaleBytes(const uint8_t* in, int64_t n, float scale, float shift, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]) * scale + shift;
}

constexpr ImageKernels MakeImageKernels() {
  ImageKernels k = {};
  k.quarter_turn = QuarterTurn;
  k.scale_bytes = ScaleBytes;
  return k;
}
