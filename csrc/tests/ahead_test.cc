// SPDX-License-Identifier: MIT
// Elements made ahead of their use: all of them, once and in order, whatever the threads do.
#include "core/threads/ahead.h"

#include <gtest/gtest.h>

#include <functional>
#include <new>
#include <set>
#include <thread>
#include <vector>

namespace fslcore {
namespace {

using Sequence = Ahead<std::vector<int64_t>>;

std::shared_ptr<Sequence> Make(int64_t first, int64_t end, int threads = 2, int64_t room = 6) {
  return std::make_shared<Sequence>([](int64_t index) { return std::vector<int64_t>(3, index); }, first, end,
                                    room, threads);
}

// Runs each task on a thread of its own, and waits for all of them at its end.
class Threads {
 public:
  ~Threads() {
    for (std::thread& thread : threads_) thread.join();
  }
  std::function<void(std::function<void()>)> schedule() {
    return [this](std::function<void()> task) {
      std::lock_guard<std::mutex> lock(mutex_);
      threads_.emplace_back(std::move(task));
    };
  }

 private:
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

void ExpectAll(const std::function<void(std::function<void()>)>& schedule) {
  const auto sequence = Make(5, 300);
  for (int64_t index = 5; index < 300; ++index) {
    const auto made = sequence->Take(schedule);
    ASSERT_TRUE(made.has_value());
    ASSERT_EQ(*made, std::vector<int64_t>(3, index));
    ASSERT_EQ(sequence->position(), index + 1);
  }
  EXPECT_FALSE(sequence->Take(schedule).has_value());
}

TEST(Ahead, GivesAllElementsInOrder) {
  Threads threads;
  ExpectAll(threads.schedule());
}

TEST(Ahead, NeedsNoThread) {
  ExpectAll([](const std::function<void()>&) {});                           // never run
  ExpectAll([](const std::function<void()>& task) { task(); });             // run at once, by a full pool
  ExpectAll([](const std::function<void()>&) { throw std::bad_alloc(); });  // refused
}

TEST(Ahead, GivesEachElementToOneOfManyTakers) {
  Threads threads;
  const auto sequence = Make(0, 2000);
  std::mutex mutex;
  std::multiset<int64_t> taken;
  std::vector<std::thread> takers;
  for (int i = 0; i < 3; ++i)
    takers.emplace_back([&] {
      int64_t before = -1;
      while (const auto made = sequence->Take(threads.schedule())) {
        EXPECT_GT((*made)[0], before);
        before = (*made)[0];
        std::lock_guard<std::mutex> lock(mutex);
        taken.insert(before);
      }
    });
  for (std::thread& taker : takers) taker.join();
  ASSERT_EQ(taken.size(), 2000u);
  EXPECT_EQ(std::set<int64_t>(taken.begin(), taken.end()).size(), 2000u);
}

TEST(Ahead, SkipsWithoutMakingAndCloses) {
  Threads threads;
  const auto sequence = Make(0, 100);
  EXPECT_EQ((*sequence->Take(threads.schedule()))[0], 0);
  EXPECT_EQ(sequence->Skip(1), 1);
  EXPECT_EQ(sequence->Skip(50), 50);
  EXPECT_EQ((*sequence->Take(threads.schedule()))[0], 52);
  EXPECT_EQ(sequence->Skip(1000), 47);
  EXPECT_FALSE(sequence->Take(threads.schedule()).has_value());
  const auto closed = Make(0, 100);
  closed->Take(threads.schedule());
  closed->Close();
  EXPECT_LE(closed->position(), 8);
}

}  // namespace
}  // namespace fslcore
