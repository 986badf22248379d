// SPDX-License-Identifier: MIT
#include "core/images/warp.h"

#include <algorithm>
#include <cmath>

#include "core/arrays/scratch.h"
#include "core/images/turns.h"
#include "core/simd/image_kernels.h"

namespace fslcore {
namespace {

// An image of floats with a border of the value outside of it: one pixel before it, two behind it, so that
// all four neighbours of a place that is held to [-1, size] are there.
class Padded {
 public:
  Padded(int64_t height, int64_t width, int64_t channels, const Warp& warp)
      : height_(height),
        row_(width * channels),
        stride_((width + 3) * channels),
        pixel_(channels),
        values_((height + 3) * stride_) {
    std::fill_n(values_.get(), (height + 3) * stride_, warp.fill_value);
    const bool beyond = warp.fill == Fill::kConstant;
    source_ = {values_.get(),
               stride_,
               channels,
               beyond ? -1.0f : 0.0f,
               static_cast<float>(beyond ? width : width - 1),
               static_cast<float>(beyond ? height : height - 1),
               warp.scale,
               warp.shift};
  }

  void Copy(const uint8_t* image) {
    const simd::ImageKernels& kernels = simd::Images();
    for (int64_t r = 0; r < height_; ++r) kernels.scale_bytes(image + r * row_, row_, 1.0f, 0.0f, RowOf(r));
  }
  void Copy(const float* image) {
    for (int64_t r = 0; r < height_; ++r) std::copy_n(image + r * row_, row_, RowOf(r));
  }
  const simd::WarpSource& source() const { return source_; }

 private:
  float* RowOf(int64_t r) const { return values_.get() + (r + 1) * stride_ + pixel_; }

  const int64_t height_, row_, stride_, pixel_;
  const Scratch<float> values_;
  simd::WarpSource source_;
};

// reader() makes, for one thread, a function of i that returns the pixels of image i.
template <class Reader>
void WarpAll(const Executor& executor, int64_t count, int64_t height, int64_t width, int64_t channels,
             const float* transforms, const Warp& warp, const Reader& reader, float* out) {
  const int64_t out_height = warp.out_height(height), out_width = warp.out_width(width);
  const int64_t pixels = out_height * out_width * channels;
  if (count == 0 || pixels == 0) return;
  // About 16 KB of the results to a block: some microseconds, which hide the hand-off.
  ParallelFor(executor, count, std::max<int64_t>(1, 4096 / pixels), [&](int64_t begin, int64_t end) {
    Padded padded(height, width, channels, warp);
    const auto image_at = reader();
    for (int64_t i = begin; i < end; ++i) {
      padded.Copy(image_at(i));
      simd::Images().warp_image(padded.source(), transforms + i * kTransform, out_height, out_width,
                                out + i * pixels);
    }
  });
}

}  // namespace

std::string CheckWarpSizes(const char* of, const Sizes& images, const Sizes& picks, const Sizes& transforms,
                           const Warp& warp) {
  Sizes expected = picks;
  expected.push_back(kTransform);
  const std::string problem =
      FirstOf({CheckAxes(of, images, 4), CheckSizes("transforms", transforms, expected)});
  if (!problem.empty()) return problem;
  if (warp.height < 0 || warp.width < 0 || (warp.height == 0) != (warp.width == 0))
    return "size must be a height and a width of at least 1, received " +
           ShapeText({warp.height, warp.width});
  if (images[0] > 0 && images[3] > 0 && images[1] * images[2] == 0)
    return std::string(of) + " must have pixels to warp, received images of " +
           ShapeText({images[1], images[2], images[3]});
  const Sizes image = {images[1] + 3, images[2] + 3, images[3]};
  const Sizes result = {warp.out_height(images[1]), warp.out_width(images[2]), images[3]};
  for (const Sizes& sizes : {image, result})
    if (!CheckElements("", sizes).empty() || ElementsOf(sizes) > kMostWarped)
      return std::string(of) + " must have at most 2^30 values in an image and in its result, received " +
             ShapeText(sizes);
  return "";
}

std::string CheckTransforms(Vector<const float> transforms) {
  for (int64_t i = 0; i < transforms.size; ++i)
    if (!std::isfinite(transforms.data[i])) return "transforms must be finite, received NaN or infinity";
  return "";
}

void WarpImages(const Executor& executor, const FloatImages& images, const float* transforms,
                const Warp& warp, float* out) {
  const int64_t pixels = images.height * images.width * images.channels;
  WarpAll(
      executor, images.count, images.height, images.width, images.channels, transforms, warp,
      [&] { return [&](int64_t i) { return images.data + i * pixels; }; }, out);
}

void GatherWarped(const Executor& executor, const Images& store, Vector<const int64_t> indices,
                  Vector<const int64_t> turns, const float* transforms, const Warp& warp, float* out) {
  const int64_t run = turns.size > 0 ? indices.size / turns.size : 1;
  WarpAll(
      executor, indices.size, store.height, store.width, store.channels, transforms, warp,
      [&] {
        return [&, turned = Scratch<uint8_t>(store.pixels())](int64_t i) -> const uint8_t* {
          const uint8_t* image = store.data + indices.data[i] * store.pixels();
          const int64_t turn = turns.size > 0 ? turns.data[i / run] : 0;
          if (turn == 0) return image;
          TurnImage(store, image, turn, turned.get());
          return turned.get();
        };
      },
      out);
}

}  // namespace fslcore
