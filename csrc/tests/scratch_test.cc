// SPDX-License-Identifier: MIT
// Scratch memory: aligned, never shared by two owners, kept by the thread that gave it back.
#include "core/arrays/scratch.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <vector>

namespace fslcore {
namespace {

TEST(Scratch, IsAlignedAndItsOwn) {
  for (int round = 0; round < 3; ++round) {
    std::vector<Scratch<int32_t>> all;
    for (int32_t i = 0; i < 50; ++i) all.emplace_back(int64_t{i} * i * 100);
    for (int32_t i = 0; i < 50; ++i) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(all[static_cast<size_t>(i)].get()) % 64, 0u);
      for (int64_t k = 0; k < int64_t{i} * i * 100; ++k) all[static_cast<size_t>(i)][k] = i;
    }
    for (int32_t i = 0; i < 50; ++i)
      for (int64_t k = 0; k < int64_t{i} * i * 100; ++k) ASSERT_EQ(all[static_cast<size_t>(i)][k], i);
  }
}

TEST(Scratch, IsGivenBackByAnyThread) {
  for (int i = 0; i < 3; ++i) {
    Scratch<float> made(1000);
    std::thread([taken = std::move(made)] { taken[999] = 1.0f; }).join();
  }
}

#if !defined(__SANITIZE_ADDRESS__)
TEST(Scratch, IsKept) {
  const float* first = Scratch<float>(100000).get();
  EXPECT_EQ(Scratch<float>(100000).get(), first);
  EXPECT_EQ(Scratch<float>(90000).get(), first);
  EXPECT_NE(Scratch<float>(10000).get(), first);  // too small for so large a block
}
#endif

}  // namespace
}  // namespace fslcore
