// SPDX-License-Identifier: MIT
// Parallel loops: teams visit every element once; what a block throws reaches the caller, after all blocks.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/threads/parallel.h"
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

// Threads, and a pool that has no memory for more than `tasks` of them.
Executor Limited(int threads, int tasks) {
  auto left = std::make_shared<std::atomic<int>>(tasks);
  return {threads, [left, whole = Threads(threads)](std::function<void()> task) {
            if (left->fetch_sub(1) <= 0) throw std::bad_alloc();
            whole.schedule(std::move(task));
          }};
}

// As those of a pool whose threads are busy, or of a core that another pool keeps for itself.
TEST(ParallelFor, DoesNotWaitForHelpersThatHaveNotBegun) {
  std::vector<std::function<void()>> late;
  const Executor executor = {4, [&late](std::function<void()> task) { late.push_back(std::move(task)); }};
  std::vector<int> visits(100, 0);
  ParallelFor(executor, 100, 3, [&](int64_t begin, int64_t end) {
    for (; begin < end; ++begin) ++visits[static_cast<size_t>(begin)];
  });
  EXPECT_EQ(visits, std::vector<int>(100, 1));
  EXPECT_EQ(late.size(), 3u);
  for (const auto& task : late) task();  // they find nothing left to do
  EXPECT_EQ(visits, std::vector<int>(100, 1));
}

// The loop's own data is gone once it has thrown: no block may run then.
TEST(Exceptions, ReachTheCallerWhenNoBlockRuns) {
  std::vector<Executor> executors = {{3, [](const std::function<void()>& task) { task(); }}};
  for (int threads : {1, 2, 3, 8}) executors.push_back(Threads(threads));
  for (const Executor& whole : executors)
    for (bool in_team : {false, true})
      for (int64_t count : {1, 2, 7, 100})
        for (int64_t bad : {int64_t{0}, count / 2, count - 1}) {
          const auto team = in_team ? std::make_unique<Team>(whole) : nullptr;
          std::atomic<int> running{0};
          const auto loop = [&] {
            ParallelFor(team ? team->executor() : whole, count, 1, [&](int64_t i, int64_t) {
              ++running;
              std::this_thread::yield();
              --running;
              if (i == bad) throw std::runtime_error(std::to_string(i));
            });
          };
          try {
            loop();
            FAIL() << "nothing was thrown";
          } catch (const std::runtime_error& error) {
            EXPECT_EQ(error.what(), std::to_string(bad));
          }
          EXPECT_EQ(running, 0);
        }
}

TEST(Exceptions, OneOfManyReachesTheCallerAndTheNextLoopWorks) {
  for (int threads : {1, 2, 8}) {
    const Executor executor = Threads(threads);
    for (int repeat = 0; repeat < 50; ++repeat) {
      EXPECT_THROW(ParallelFor(executor, 64, 1, [](int64_t, int64_t) { throw std::bad_alloc(); }),
                   std::bad_alloc);
      std::atomic<int64_t> sum{0};
      ParallelFor(executor, 64, 1, [&](int64_t i, int64_t) { sum += i; });
      EXPECT_EQ(sum, 2016);
    }
  }
}

TEST(Exceptions, OfAnInnerLoopReachTheOuterOne) {
  const Executor executor = Threads(3);
  EXPECT_THROW(ParallelFor(executor, 5, 1,
                           [&](int64_t i, int64_t) {
                             ParallelFor(executor, 5, 1, [i](int64_t j, int64_t) {
                               if (i == 3 && j == 2) throw std::bad_alloc();
                             });
                           }),
               std::bad_alloc);
}

TEST(Exceptions, OfThePoolLeaveTheWorkToTheThreadsThatThereAre) {
  for (int tasks : {0, 1, 2})
    for (bool in_team : {false, true}) {
      const Executor whole = Limited(4, tasks);
      const auto team = in_team ? std::make_unique<Team>(whole) : nullptr;
      std::atomic<int64_t> sum{0};
      ParallelFor(team ? team->executor() : whole, 64, 1, [&](int64_t i, int64_t) { sum += i; });
      EXPECT_EQ(sum, 2016);
    }
}

}  // namespace
}  // namespace fslcore
