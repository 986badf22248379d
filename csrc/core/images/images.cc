// SPDX-License-Identifier: MIT
#include "core/images/images.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/simd/kernels.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

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
  for (int r = 0; r < 8; ++r) std::memcpy(&rows[r], in + r * in_step, 8);
  const auto swap = [&rows](int r, int distance, uint64_t mask) {
    const uint64_t difference = ((rows[r] >> (8 * distance)) ^ rows[r + distance]) & mask;
    rows[r + distance] ^= difference;
    rows[r] ^= difference << (8 * distance);
  };
  for (int r : {0, 1, 2, 3}) swap(r, 4, 0x00000000FFFFFFFFu);
  for (int r : {0, 1, 4, 5}) swap(r, 2, 0x0000FFFF0000FFFFu);
  for (int r : {0, 2, 4, 6}) swap(r, 1, 0x00FF00FF00FF00FFu);
  for (int r = 0; r < 8; ++r) std::memcpy(out + r * out_step, &rows[r], 8);
}
#endif

// A quarter turn of a square one-channel image, four times faster by blocks than byte by byte. One turn is
// the transpose with its rows in reverse order, three turns the transpose of the image with its rows
// reversed.
void TurnByBlocks(const uint8_t* image, int64_t size, int64_t turns, uint8_t* out) {
  for (int64_t row = 0; row < size; row += 8)
    for (int64_t col = 0; col < size; col += 8) {
      const int64_t r = std::min(row, size - 8), c = std::min(col, size - 8);  // the last blocks overlap
      if (turns == 1)
        TransposeBlock(image + r * size + c, size, out + (size - 1 - c) * size + r, -size);
      else
        TransposeBlock(image + (size - 1 - r) * size + c, -size, out + c * size + r, size);
    }
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

// Counter-clockwise: after one turn, row r of the result is column width - 1 - r of the image.
void Rotate(const Images& store, const uint8_t* image, int64_t turns, uint8_t* out) {
  const int64_t h = store.height, w = store.width;
  if (store.channels == 1 && turns % 2 == 1 && h >= 8) return TurnByBlocks(image, h, turns, out);
  if (store.channels == 1 && turns == 2) return Reverse(image, h * w, out);
  int64_t first = 0, row_step = 0, col_step = 0;
  if (turns == 1) first = w - 1, row_step = -1, col_step = w;
  if (turns == 2) first = h * w - 1, row_step = -w, col_step = -1;
  if (turns == 3) first = (h - 1) * w, row_step = 1, col_step = -w;
  const auto walk = store.channels == 3 ? Walk<3> : Walk<0>;
  walk(image + first * store.channels, row_step, col_step, h, w, store.channels, out);
}

// The two neighbours of each place along an axis, and how far towards the second one it lies.
struct Taps {
  std::vector<int64_t> first, second;
  std::vector<float> weight;

  // The centre of place i is at (i + 1/2) in / out - 1/2; beyond the border both neighbours are the last.
  Taps(int64_t in, int64_t out) {
    const float step = static_cast<float>(in) / static_cast<float>(out);
    for (int64_t i = 0; i < out; ++i) {
      const float centre = (static_cast<float>(i) + 0.5f) * step - 0.5f, below = std::floor(centre);
      first.push_back(std::max<int64_t>(0, static_cast<int64_t>(below)));
      second.push_back(std::min<int64_t>(in - 1, static_cast<int64_t>(std::ceil(centre))));
      weight.push_back(centre - below);
    }
  }
};

// Bilinear interpolation, of bytes to floats.
class Resize {
 public:
  Resize(const Images& store, const ImageChange& change)
      : rows_(store.height, change.height),
        cols_(store.width, change.width),
        channels_(store.channels),
        in_width_(store.width * store.channels),
        out_width_(change.width * store.channels) {}

  // First along the rows, each one of the image at most once as the places move down, then between them.
  void Apply(const uint8_t* image, float* out) const {
    Scratch<float> upper(out_width_), lower(out_width_);
    int64_t in_upper = -1, in_lower = -1;
    for (size_t r = 0; r < rows_.weight.size(); ++r, out += out_width_) {
      if (rows_.first[r] == in_lower) std::swap(upper, lower), std::swap(in_upper, in_lower);
      if (rows_.first[r] != in_upper) ResizeRow(image, in_upper = rows_.first[r], upper.get());
      if (rows_.second[r] != in_lower) ResizeRow(image, in_lower = rows_.second[r], lower.get());
      for (int64_t c = 0; c < out_width_; ++c) out[c] = upper[c] + (lower[c] - upper[c]) * rows_.weight[r];
    }
  }

 private:
  void ResizeRow(const uint8_t* image, int64_t row, float* out) const {
    const uint8_t* in = image + row * in_width_;
    for (size_t c = 0; c < cols_.weight.size(); ++c)
      for (int64_t b = 0; b < channels_; ++b) {
        const auto left = static_cast<float>(in[cols_.first[c] * channels_ + b]);
        const auto right = static_cast<float>(in[cols_.second[c] * channels_ + b]);
        *out++ = left + (right - left) * cols_.weight[c];
      }
  }

  const Taps rows_, cols_;
  const int64_t channels_, in_width_, out_width_;
};

}  // namespace

std::string CheckGatherSizes(const Sizes& store, const Sizes& indices, const Sizes& rotations,
                             const ImageChange& change) {
  const std::string problem = FirstOf({CheckAxes("store", store, 4), CheckElements("store", store)});
  if (!problem.empty()) return problem;
  const bool leading =
      rotations.size() <= indices.size() && std::equal(rotations.begin(), rotations.end(), indices.begin());
  if (!leading && rotations != Sizes{0})
    return "rotations must have the leading axes of indices " + ShapeText(indices) + ", received " +
           ShapeText(rotations);
  if (change.height < 0 || change.width < 0 || (change.height == 0) != (change.width == 0))
    return "size must be a height and a width of at least 1, received " +
           ShapeText({change.height, change.width});
  if (change.resizes() && store[0] > 0 && ElementsOf(store) == 0)
    return "store must have pixels to resize, received images of " +
           ShapeText({store[1], store[2], store[3]});
  return "";
}

std::string CheckGather(const Images& store, Vector<const int64_t> indices, Vector<const int64_t> turns,
                        const ImageChange& change) {
  const std::string problem =
      CheckGatherSizes({store.count, store.height, store.width, store.channels}, {indices.size}, {0}, change);
  if (!problem.empty()) return problem;
  for (int64_t i = 0; i < indices.size; ++i)
    if (indices.data[i] < 0 || indices.data[i] >= store.count)
      return "indices must be in [0, " + std::to_string(store.count) +
             "), the images of the store, received " + std::to_string(indices.data[i]);
  for (int64_t i = 0; i < turns.size; ++i) {
    const int64_t turn = turns.data[i];
    if (turn < 0 || turn > 3)
      return "rotations must be 0, 1, 2 or 3 quarter turns, received " + std::to_string(turn);
    if (turn % 2 == 1 && store.height != store.width)
      return "rotations by odd quarter turns need square images, received " + std::to_string(turn) +
             " for images of " + std::to_string(store.height) + " x " + std::to_string(store.width);
  }
  return "";
}

void GatherImages(const Executor& executor, const Images& store, Vector<const int64_t> indices,
                  Vector<const int64_t> turns, const ImageChange& change, float* out) {
  const int64_t run = turns.size > 0 ? indices.size / turns.size : 1;
  std::optional<Resize> resize;
  if (change.resizes()) resize.emplace(store, change);
  const int64_t pixels = change.out_height(store.height) * change.out_width(store.width) * store.channels;
  // About 64 KB of output per block: enough to hide the hand-off, small enough for one episode to be shared.
  ParallelFor(executor, indices.size, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, pixels)),
              [&](int64_t begin, int64_t end) {
                const Scratch<uint8_t> rotated(store.pixels());
                for (int64_t i = begin; i < end; ++i) {
                  const uint8_t* image = store.data + indices.data[i] * store.pixels();
                  const int64_t turn = turns.size > 0 ? turns.data[i / run] : 0;
                  if (turn != 0) {
                    Rotate(store, image, turn, rotated.get());
                    image = rotated.get();
                  }
                  float* to = out + i * pixels;
                  if (resize) {
                    resize->Apply(image, to);
                    for (int64_t p = 0; p < pixels; ++p) to[p] = to[p] * change.scale + change.shift;
                  } else {
                    Simd().scale_bytes(image, pixels, change.scale, change.shift, to);
                  }
                }
              });
}

}  // namespace fslcore
