// SPDX-License-Identifier: MIT
// Affine warps: sentinels intact, and the pixels of warps that move whole pixels.
#include "core/images/warp.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/images/transforms.h"
#include "tests/inputs.h"

namespace fslcore {
namespace {

TEST(Warp, MovesWholePixels) {
  std::vector<uint8_t> pixels(3 * 6 * 70 * 2);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 7);
  const Images store = {pixels.data(), 3, 6, 70, 2};
  const std::vector<int64_t> indices = {2, 0, 1, 2}, turns = {0, 2};
  // Shifts by (3, -1), also of the picture upside down, and far away.
  std::vector<float> transforms;
  for (float shift : {3.0f, 3.0f, 3.0f, 1e30f}) transforms.insert(transforms.end(), {1, 0, shift, 0, 1, -1});
  for (const Fill fill : {Fill::kConstant, Fill::kNearest}) {
    Warp warp;
    warp.fill = fill;
    warp.fill_value = 77.0f;
    Guarded out(4 * 6 * 70 * 2);
    GatherWarped(Threads(2), store, {indices.data(), 4}, {turns.data(), 2}, transforms.data(), warp,
                 out.get());
    EXPECT_TRUE(out.intact());
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t r = 0; r < 6; ++r)
        for (int64_t c = 0; c < 70; ++c)
          for (int64_t b = 0; b < 2; ++b) {
            int64_t row = r - 1, col = i == 3 ? 1000 : c + 3;
            const bool outside = row < 0 || col >= 70;
            row = row < 0 ? 0 : row;
            col = col >= 70 ? 69 : col;
            if (i >= 2) row = 5 - row, col = 69 - col;
            const auto at =
                static_cast<size_t>(((indices[static_cast<size_t>(i)] * 6 + row) * 70 + col) * 2 + b);
            EXPECT_EQ(out.get()[((i * 6 + r) * 70 + c) * 2 + b],
                      outside && fill == Fill::kConstant ? 77.0f : static_cast<float>(pixels[at]))
                << "image " << i << ", row " << r << ", column " << c;
          }
  }
}

TEST(Warp, IsDrawnAsTheIdentityWithoutAnything) {
  const std::vector<float> none(kAffineParameters * kDistributionSizes, 0.0f);
  const std::vector<int64_t> numbers = {5, 0, 900};
  Guarded out(18);
  DrawTransforms(Threads(2), none.data(), {9, 13, 9, 13}, {numbers.data(), 3}, 1, 2, out.get());
  EXPECT_TRUE(out.intact());
  for (int64_t i = 0; i < 18; ++i) EXPECT_EQ(out.get()[i], i % 6 == 0 || i % 6 == 4 ? 1.0f : 0.0f);
}

}  // namespace
}  // namespace fslcore
