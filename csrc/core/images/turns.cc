// SPDX-License-Identifier: MIT
#include "core/images/turns.h"

#include <cstring>

#include "core/simd/image_kernels.h"

namespace fslcore {
namespace {

// out[r, c] = in[first + r * row_step + c * col_step], pixels of kChannels bytes, or of `channels` if that is
// 0.
template <int kChannels>
void Walk(const uint8_t* in, int64_t row_step, int64_t col_step, int64_t rows, int64_t cols, int64_t channels,
          uint8_t* out) {
  const int64_t width = kChannels ? kChannels : channels;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      for (int64_t b = 0; b < width; ++b) *out++ = in[(r * row_step + c * col_step) * width + b];
}

void Reverse(const uint8_t* in, int64_t size, uint8_t* out) {
  int64_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t bytes;
    std::memcpy(&bytes, in + i, 8);
    bytes = __builtin_bswap64(bytes);
    std::memcpy(out + size - 8 - i, &bytes, 8);
  }
  for (; i < size; ++i) out[size - 1 - i] = in[i];
}

}  // namespace

void TurnImage(const Images& store, const uint8_t* image, int64_t turns, uint8_t* out) {
  const int64_t h = store.height, w = store.width;
  if (store.channels == 1 && turns % 2 == 1 && h >= 8)
    return simd::Images().quarter_turn(image, h, turns, out);
  if (store.channels == 1 && turns == 2) return Reverse(image, h * w, out);
  int64_t first = 0, row_step = 0, col_step = 0;
  if (turns == 1) first = w - 1, row_step = -1, col_step = w;
  if (turns == 2) first = h * w - 1, row_step = -w, col_step = -1;
  if (turns == 3) first = (h - 1) * w, row_step = 1, col_step = -w;
  const auto walk = store.channels == 3 ? Walk<3> : Walk<0>;
  walk(image + first * store.channels, row_step, col_step, h, w, store.channels, out);
}

}  // namespace fslcore
