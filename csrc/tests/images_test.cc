// SPDX-License-Identifier: MIT
// Images gathered by the positions of an episode: sentinels intact, every pixel where the turns bring it.
#include "core/images/images.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/inputs.h"

namespace fslcore {
namespace {

TEST(Images, TurnedByClass) {
  std::vector<uint8_t> pixels(60 * 25);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i);
  const Images store = {pixels.data(), 60, 5, 5, 1};
  const std::vector<int64_t> turns = {0, 1, 2, 3, 0, 1};
  Guarded out(18 * 25);
  std::vector<int64_t> picked(18);
  for (size_t i = 0; i < picked.size(); ++i) picked[i] = static_cast<int64_t>(i * 23 % 60);
  GatherImages(Threads(2), store, {picked.data(), 18}, {turns.data(), 6}, {}, out.get());
  EXPECT_TRUE(out.intact());
  for (int64_t i = 0; i < 18; ++i)
    for (int64_t r = 0; r < 5; ++r)
      for (int64_t c = 0; c < 5; ++c) {
        int64_t row = r, col = c;
        for (int turn = 0; turn < turns[static_cast<size_t>(i / 3)]; ++turn) {
          const int64_t old_row = row;
          row = col;
          col = 4 - old_row;
        }
        EXPECT_EQ(out.get()[i * 25 + r * 5 + c],
                  pixels[static_cast<size_t>(picked[static_cast<size_t>(i)] * 25 + row * 5 + col)])
            << "image " << i << ", row " << r << ", column " << c;
      }
}

}  // namespace
}  // namespace fslcore
