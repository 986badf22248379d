// SPDX-License-Identifier: MIT
// Parallel loops by teams of threads: every element is visited once.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <vector>

#include "core/threads/team.h"
#include "tests/inputs.h"

namespace fslcore {
namespace {

// Loops of all sizes one after the other, by teams that come and go. Some pools are full, and have the caller
// run what it schedules.
TEST(Team, VisitsEveryElementOnce) {
  std::vector<Executor> executors = {{3, [](const std::function<void()>& task) { task(); }}};
  for (int threads : {1, 2, 3, 8}) executors.push_back(Threads(threads));
  for (const Executor& whole : executors)
    for (int team = 0; team < 20; ++team) {
      const Team members(whole);
      for (int64_t count : {0, 1, 2, 7, 100}) {
        std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
        for (Order order : {Order::kForward, Order::kBackward})
          ParallelFor(
              members.executor(), count, 3,
              [&](int64_t begin, int64_t end) {
                for (; begin < end; ++begin) ++visits[static_cast<size_t>(begin)];
              },
              order);
        for (const auto& visit : visits) EXPECT_EQ(visit, 2) << "of " << count << " by " << whole.threads;
      }
    }
}

}  // namespace
}  // namespace fslcore
