// SPDX-License-Identifier: MIT
// Bytes of images: quarter turns, their conversion to floats, and affine warps.
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

// Where some pixels of a result lie in the image: the first number of the pixel to the upper left, and how
// much of their values is of the left, the right, the upper and the lower pixels.
constexpr int64_t kWarpBlock = 64;

struct WarpPlaces {
  int32_t at[kWarpBlock];
  float left[kWarpBlock], right[kWarpBlock], upper[kWarpBlock], lower[kWarpBlock];
};

// The greatest whole number up to v; conversion rounds to zero.
inline float Floor(float v) {
  const float whole = static_cast<float>(static_cast<int32_t>(v));
  return whole > v ? whole - 1.0f : whole;
}

inline float Held(float v, float least, float most) {
  const float above = v > least ? v : least;
  return above < most ? above : most;
}

void FindPlaces(const WarpSource& source, const float* t, int64_t row, int64_t begin, int64_t n,
                WarpPlaces& places) {
  const float x_of_row = t[1] * static_cast<float>(row), y_of_row = t[4] * static_cast<float>(row);
  const float x_of_col = t[0], y_of_col = t[3], x_of_all = t[2], y_of_all = t[5];
  const float least = source.least, most_x = source.most_x, most_y = source.most_y;
  const int32_t stride = static_cast<int32_t>(source.stride);
  const int32_t channels = static_cast<int32_t>(source.channels);
  const int32_t first = static_cast<int32_t>(begin);
  for (int32_t i = 0; i < static_cast<int32_t>(n); ++i) {
    const float col = static_cast<float>(first + i);
    const float x = Held(x_of_col * col + x_of_row + x_of_all, least, most_x);
    const float y = Held(y_of_col * col + y_of_row + y_of_all, least, most_y);
    const float x0 = Floor(x), y0 = Floor(y);
    places.left[i] = (x0 + 1.0f) - x;
    places.right[i] = x - x0;
    places.upper[i] = (y0 + 1.0f) - y;
    places.lower[i] = y - y0;
    places.at[i] = (static_cast<int32_t>(y0) + 1) * stride + (static_cast<int32_t>(x0) + 1) * channels;
  }
}

// First between left and right, then between above and below.
void BlendOneChannel(const WarpSource& source, const WarpPlaces& places, int64_t n, float* out) {
  float corners[4][kWarpBlock];
  const float *above = source.image, *below = source.image + source.stride;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t at = places.at[i];
    corners[0][i] = above[at], corners[1][i] = above[at + 1];
    corners[2][i] = below[at], corners[3][i] = below[at + 1];
  }
  const float scale = source.scale, shift = source.shift;
  for (int64_t i = 0; i < n; ++i) {
    const float upper = places.left[i] * corners[0][i] + places.right[i] * corners[1][i];
    const float lower = places.left[i] * corners[2][i] + places.right[i] * corners[3][i];
    out[i] = (places.upper[i] * upper + places.lower[i] * lower) * scale + shift;
  }
}

// kChannels, or those of the source if that is 0.
template <int kChannels>
void BlendPixels(const WarpSource& source, const WarpPlaces& places, int64_t n, float* out) {
  const int64_t channels = kChannels ? kChannels : source.channels;
  for (int64_t i = 0; i < n; ++i) {
    const float *above = source.image + places.at[i], *below = above + source.stride;
    for (int64_t b = 0; b < channels; ++b) {
      const float upper = places.left[i] * above[b] + places.right[i] * above[channels + b];
      const float lower = places.left[i] * below[b] + places.right[i] * below[channels + b];
      *out++ = (places.upper[i] * upper + places.lower[i] * lower) * source.scale + source.shift;
    }
  }
}

void WarpImage(const WarpSource& source, const float* transform, int64_t height, int64_t width, float* out) {
  const auto blend = source.channels == 1   ? BlendOneChannel
                     : source.channels == 3 ? BlendPixels<3>
                                            : BlendPixels<0>;
  WarpPlaces places;
  for (int64_t row = 0; row < height; ++row)
    for (int64_t begin = 0; begin < width; begin += kWarpBlock) {
      const int64_t n = width - begin < kWarpBlock ? width - begin : kWarpBlock;
      FindPlaces(source, transform, row, begin, n, places);
      blend(source, places, n, out);
      out += n * source.channels;
    }
}

constexpr ImageKernels MakeImageKernels() {
  ImageKernels k = {};
  k.quarter_turn = QuarterTurn;
  k.scale_bytes = ScaleBytes;
  k.warp_image = WarpImage;
  return k;
}
