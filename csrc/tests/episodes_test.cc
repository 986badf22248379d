// SPDX-License-Identifier: MIT
// Any episode can be drawn alone, by any number of threads.
#include "core/episodes/episodes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/inputs.h"

namespace fslcore {
namespace {

TEST(Episodes, OneAloneIsTheSame) {
  std::vector<int64_t> labels(60);
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int64_t>(i % 6);
  const Classes classes({labels.data(), 60});
  const EpisodeShape shape = {3, 2, 4};
  EXPECT_EQ(CheckEpisodes(classes, shape, 100, 1, 0), "");
  std::vector<int32_t> all(100 * 18), late(18);
  SampleEpisodes(Threads(3), classes, shape, 100, 1, 0, all.data());
  SampleEpisodes(Threads(1), classes, shape, 1, 1, 70, late.data());
  EXPECT_TRUE(std::equal(late.begin(), late.end(), all.begin() + 70 * 18));
}

}  // namespace
}  // namespace fslcore
