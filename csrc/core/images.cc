// SPDX-License-Identifier: MIT
#include "core/images.h"

#include "core/scratch.h"
#include "core/simd/kernels.h"

namespace fslcore {
namespace {

// out[r, c] = in[first + r * row_step + c * col_step], pixels of kChannels bytes (0: `channels`).
template <int kChannels>
void Walk(const uint8_t* in, int64_t row_step, int64_t col_step, int64_t rows, int64_t cols, int64_t channels,
          uint8_t* out) {
  const int64_t width = kChannels ? kChannels : channels;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      for (int64_t b = 0; b < width; ++b) *out++ = in[(r * row_step + c * col_step) * width + b];
}

// Counter-clockwise: after one turn, row r of the result is column width - 1 - r of the image.
void Rotate(const Images& store, const uint8_t* image, int64_t turns, uint8_t* out) {
  const int64_t h = store.height, w = store.width;
  int64_t first = 0, row_step = 0, col_step = 0;
  if (turns == 1) first = w - 1, row_step = -1, col_step = w;
  if (turns == 2) first = h * w - 1, row_step = -w, col_step = -1;
  if (turns == 3) first = (h - 1) * w, row_step = 1, col_step = -w;
  const auto walk = store.channels == 1 ? Walk<1> : store.channels == 3 ? Walk<3> : Walk<0>;
  walk(image + first * store.channels, row_step, col_step, h, w, store.channels, out);
}

std::string Shape(const std::vector<int64_t>& axes) {
  std::string text = "[";
  for (size_t i = 0; i < axes.size(); ++i) text += (i ? ", " : "") + std::to_string(axes[i]);
  return text + "]";
}

}  // namespace

std::string CheckRotations(const std::vector<int64_t>& indices, const std::vector<int64_t>& rotations) {
  if (rotations == std::vector<int64_t>{0}) return "";
  if (rotations.size() <= indices.size() && std::equal(rotations.begin(), rotations.end(), indices.begin()))
    return "";
  return "rotations must have the leading axes of indices " + Shape(indices) + ", received " +
         Shape(rotations);
}

std::string CheckGather(const Images& store, Vector<const int64_t> indices, Vector<const int64_t> turns) {
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
                  Vector<const int64_t> turns, float scale, float shift, float* out) {
  const int64_t pixels = store.pixels();
  const int64_t run = turns.size > 0 ? indices.size / turns.size : 1;
  // About 64 KB of output per block: enough to hide the hand-off, small enough for one episode to be shared.
  ParallelFor(executor, indices.size, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, pixels)),
              [&](int64_t begin, int64_t end) {
                Scratch<uint8_t> rotated(pixels);
                for (int64_t i = begin; i < end; ++i) {
                  const uint8_t* image = store.data + indices.data[i] * pixels;
                  const int64_t turn = turns.size > 0 ? turns.data[i / run] : 0;
                  if (turn != 0) {
                    Rotate(store, image, turn, rotated.get());
                    image = rotated.get();
                  }
                  Simd().scale_bytes(image, pixels, scale, shift, out + i * pixels);
                }
              });
}

}  // namespace fslcore
