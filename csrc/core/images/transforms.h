// SPDX-License-Identifier: MIT
// Affine warps drawn at random: a transform is a pure function of (seed, step, number of the image), by
// Philox4x32-10, so that any of them can be drawn alone, in any order, on any thread. constexpr and in double
// precision without a function of the C library: a GPU and every CPU have the same bits.
#pragma once
#include <string>

#include "core/arrays/sizes.h"
#include "core/arrays/views.h"
#include "core/random/philox.h"
#include "core/threads/parallel.h"

namespace fslcore {

// What is drawn for an image. The picture is mirrored, scaled, sheared along y, sheared along x, rotated and
// moved, in this order and about its middle.
enum AffineParameter {
  kRotation,  // degrees, counter-clockwise
  kShearX,    // how far a pixel moves along x, for each pixel that it is below the middle
  kShearY,    // along y, for each pixel to the right of it
  kZoom,      // of both sides; a picture of 2 is twice as large, and a factor below kLeastZoom counts as that
  kZoomX,     // of the width, a further factor
  kZoomY,     // of the height
  kShiftX,    // of the width, to the right
  kShiftY,    // of the height, down
  kFlipX,     // left and right change sides if it is above 0
  kFlipY,     // top and bottom
  kAffineParameters
};
inline constexpr double kLeastZoom = 0.0625;

// How a parameter is distributed: uniform from `first` to `second`, or normal with mean `first` and deviation
// `second` if `normal` is not 0. It is drawn with a probability and stays out otherwise.
struct AffineDistribution {
  float first, second, probability, normal;
};
inline constexpr int64_t kDistributionSizes = 4;

// Of images and results, in pixels; a result of another size shows the whole picture, stretched.
struct AffineSizes {
  int64_t height, width, out_height, out_width;
};

// Error messages, empty if all is well: of the sizes of the arguments, and of their values.
std::string CheckTransformSizes(const Sizes& distributions, const Sizes& sizes, const Sizes& seed,
                                const Sizes& step);
std::string CheckTransformValues(const float* distributions, const int64_t* sizes,
                                 Vector<const int64_t> numbers, int64_t seed, int64_t step);

// out [numbers.size, 6], rows (a, b, c, d, e, f): pixel (x, y) of the result shows the place (a x + b y + c,
// d x + e y + f) of the image, as in WarpImages. `distributions` has a row for each parameter.
void DrawTransforms(const Executor& executor, const float* distributions, const AffineSizes& sizes,
                    Vector<const int64_t> numbers, int64_t seed, int64_t step, float* out);

// ---- one transform ---------------------------------------------------------------------------------------

namespace affine {

inline constexpr double kPi = 3.14159265358979323846;
// Streams of episodes are numbered by their classes, below 2^31: none is read twice.
inline constexpr uint32_t kFirstStream = 0x80000000u;

// By Newton's method, of 0 to 64; a fixed number of steps, from above.
constexpr double SquareRoot(double x) {
  double root = 8.0;
  for (int step = 0; step < 40; ++step) root = 0.5 * (root + x / root);
  return root;
}

// ln(n / 2^32), of 1 to 2^32: n = 2^e m with m in [1, 2), ln m = 2 artanh((m - 1) / (m + 1)).
constexpr double LogOfShare(uint64_t n) {
  int exponent = -32;
  double m = static_cast<double>(n);
  for (; m >= 2.0; m *= 0.5) ++exponent;
  const double s = (m - 1.0) / (m + 1.0);
  double sum = 0.0, power = s;
  for (int k = 1; k < 32; k += 2, power *= s * s) sum += power / k;
  return 2.0 * sum + exponent * 0.69314718055994530942;
}

// By their series; 0 to 30 terms leave less than 1e-15 of it for |x| <= pi.
struct SineCosine {
  double sine = 0.0, cosine = 0.0;

  explicit constexpr SineCosine(double turns) {
    const auto whole = static_cast<int64_t>(turns + (turns < 0.0 ? -0.5 : 0.5));
    const double x = 2.0 * kPi * (turns - static_cast<double>(whole));
    double term = 1.0;
    for (int k = 0; k < 30; ++k) {
      switch (k % 4) {
        case 0:
          cosine += term;
          break;
        case 1:
          sine += term;
          break;
        case 2:
          cosine -= term;
          break;
        default:
          sine -= term;
      }
      term *= x / (k + 1);
    }
  }
};

// The value of a parameter, or `without` if it stays out; it takes one block of the stream, whatever it is.
constexpr double Draw(const float* distribution, double without, PhiloxStream& stream) {
  const uint32_t first = stream.Next(), second = stream.Next(), third = stream.Next();
  stream.Next();
  const double low = distribution[0], high = distribution[1];
  if (third * 0x1p-32 >= static_cast<double>(distribution[2])) return without;
  if (distribution[3] == 0.0f) return low + (high - low) * (first * 0x1p-32);
  // Box and Muller (1958).
  const double length = SquareRoot(-2.0 * LogOfShare(uint64_t{first} + 1));
  return low + high * (length * SineCosine(second * 0x1p-32).cosine);
}

constexpr void DrawTransform(const float* distributions, const AffineSizes& sizes, int64_t number,
                             int64_t seed, int64_t step, float* out) {
  PhiloxStream stream(static_cast<uint64_t>(seed), static_cast<uint64_t>(step),
                      kFirstStream + static_cast<uint32_t>(number));
  double drawn[kAffineParameters] = {};
  for (int p = 0; p < kAffineParameters; ++p) {
    const bool factor = p == kZoom || p == kZoomX || p == kZoomY;
    drawn[p] = Draw(distributions + p * kDistributionSizes, factor ? 1.0 : 0.0, stream);
    if (factor && !(drawn[p] > kLeastZoom)) drawn[p] = kLeastZoom;
  }
  // From a place of the result back to that of the image: rows of a matrix of two, undone from the last to
  // the first.
  const SineCosine turn(drawn[kRotation] / 360.0);
  double x_of_x = turn.cosine, x_of_y = -turn.sine, y_of_x = turn.sine, y_of_y = turn.cosine;
  x_of_x -= drawn[kShearX] * y_of_x, x_of_y -= drawn[kShearX] * y_of_y;
  y_of_x -= drawn[kShearY] * x_of_x, y_of_y -= drawn[kShearY] * x_of_y;
  const double along_x = (drawn[kFlipX] > 0.0 ? -1.0 : 1.0) / (drawn[kZoom] * drawn[kZoomX]);
  const double along_y = (drawn[kFlipY] > 0.0 ? -1.0 : 1.0) / (drawn[kZoom] * drawn[kZoomY]);
  x_of_x *= along_x, x_of_y *= along_x, y_of_x *= along_y, y_of_y *= along_y;
  // Pixels of the result are measured in those of the image, from the middle that the shift has moved.
  const auto height = static_cast<double>(sizes.height), width = static_cast<double>(sizes.width);
  const auto out_height = static_cast<double>(sizes.out_height);
  const auto out_width = static_cast<double>(sizes.out_width);
  const double scale_x = width / out_width, scale_y = height / out_height;
  const double middle_x = 0.5 * (out_width - 1.0) * scale_x + drawn[kShiftX] * width;
  const double middle_y = 0.5 * (out_height - 1.0) * scale_y + drawn[kShiftY] * height;
  out[0] = static_cast<float>(x_of_x * scale_x);
  out[1] = static_cast<float>(x_of_y * scale_y);
  out[2] = static_cast<float>(0.5 * (width - 1.0) - x_of_x * middle_x - x_of_y * middle_y);
  out[3] = static_cast<float>(y_of_x * scale_x);
  out[4] = static_cast<float>(y_of_y * scale_y);
  out[5] = static_cast<float>(0.5 * (height - 1.0) - y_of_x * middle_x - y_of_y * middle_y);
}

}  // namespace affine
}  // namespace fslcore
