// SPDX-License-Identifier: MIT
// Affine warps of images, each by its own transform, in one pass: bilinear, in the arithmetic of TensorFlow's
// ImageProjectiveTransformV3. From floats, or fused with the gather of bytes.
#pragma once
#include <array>
#include <string>
#include <string_view>

#include "core/arrays/sizes.h"
#include "core/arrays/views.h"
#include "core/images/images.h"
#include "core/threads/parallel.h"

namespace fslcore {

// What is outside of an image: a value, or the pixel of its border that is nearest.
enum class Fill { kConstant, kNearest };

inline constexpr std::array<std::string_view, 2> kFills = {"constant", "nearest"};
inline const auto& NamesOf(Fill) { return kFills; }

// A warped image is height x width, or of the size that it has if both are 0; then value * scale + shift.
struct Warp : ImageChange {
  Fill fill = Fill::kConstant;
  float fill_value = 0.0f;  // in the units of the images
};

inline constexpr int64_t kTransform = 6;                  // numbers of a transform
inline constexpr int64_t kMostWarped = int64_t{1} << 30;  // values of an image, or of its result

// Error messages, empty if all is well. Of the sizes; `of` names the images in them.
std::string CheckWarpSizes(const char* of, const Sizes& images, const Sizes& picks, const Sizes& transforms,
                           const Warp& warp);
// Of the values.
std::string CheckTransforms(Vector<const float> transforms);

// out [images, height, width, channels] of images [images, ..., channels]: pixel (x, y) of a result is the
// image at (a x + b y + c, d x + e y + f) of its transform (a, b, c, d, e, f), between the four pixels around
// it. The same bits for any number of threads and on every CPU: each product and each sum is rounded by
// itself.
struct FloatImages {
  const float* data;
  int64_t count, height, width, channels;
};
void WarpImages(const Executor& executor, const FloatImages& images, const float* transforms,
                const Warp& warp, float* out);

// The same of images of a store, picked and turned as GatherImages does it.
void GatherWarped(const Executor& executor, const Images& store, Vector<const int64_t> indices,
                  Vector<const int64_t> turns, const float* transforms, const Warp& warp, float* out);

}  // namespace fslcore
