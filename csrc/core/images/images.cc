// SPDX-License-Identifier: MIT
#include "core/images/images.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/images/turns.h"
#include "core/simd/image_kernels.h"

namespace fslcore {
namespace {

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
  if (indices.size == 0) return;  // no tables for a size that nobody needs
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
                    TurnImage(store, image, turn, rotated.get());
                    image = rotated.get();
                  }
                  float* to = out + i * pixels;
                  if (resize) {
                    resize->Apply(image, to);
                    for (int64_t p = 0; p < pixels; ++p) to[p] = to[p] * change.scale + change.shift;
                  } else {
                    simd::Images().scale_bytes(image, pixels, change.scale, change.shift, to);
                  }
                }
              });
}

}  // namespace fslcore
