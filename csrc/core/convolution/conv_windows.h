// SPDX-License-Identifier: MIT
// The windows of a 3x3 convolution, sorted by the taps that lie inside the image: within a group all windows
// have the same runs, so the inner loops meet no border, and taps on the padding cost nothing (31 % of all,
// from 4x4 to 2x2 positions).
#pragma once
#include <cstdint>
#include <vector>

#include "core/convolution/convolution.h"
#include "core/simd/convolution_kernels.h"

namespace fslcore {

struct WindowGroup {
  std::vector<simd::WindowRun> runs;
  std::vector<simd::WindowPlace> places;  // image by image, so that fewer images are a prefix
  int64_t per_image;                      // places
};

// From images to maps; run.row counts the rows of the kernel as [9 * channels, filters].
std::vector<WindowGroup> ForwardWindows(const ConvShape& shape, int64_t images);

// From the gradient of the maps to the gradient of the images; run.row counts rows of the kernel's transposed
// taps, [9 * filters, channels].
std::vector<WindowGroup> BackwardWindows(const ConvShape& shape, int64_t images);

}  // namespace fslcore
