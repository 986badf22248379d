// SPDX-License-Identifier: MIT
// A parallel loop over whatever threads the caller owns (TensorFlow's, XLA's, or our own under pybind11).
//
// The calling thread takes blocks like any helper and waits only for blocks that are already running, so
// the loop may be entered from a thread of the same pool without deadlock. Blocks are a function of the
// problem alone, never of the number of threads: that is what keeps results bit-identical for any pool.
//
// An exception in a block reaches the caller once no other block runs. Blocks that have not begun by then are
// left out.
#pragma once
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "core/arrays/rounding.h"
#include "core/threads/cpu_state.h"

namespace fslcore {

// How often a thread tests a condition before it sleeps. A test takes some thirty nanoseconds; all together
// take about as long as a sleeping thread needs to wake on a virtual machine.
inline constexpr int kSpins = 1500;

struct Executor {
  int threads = 1;
  std::function<void(std::function<void()>)> schedule;  // may be empty when threads == 1
  int spins = kSpins;                                   // of the caller at the end of its loop
};

// The least work for which a hand-off to another thread pays; it takes ten to fifty microseconds. Counted in
// operations between registers and caches, and in rows of `cols` floats that are touched once.
inline constexpr int64_t kWorkWorthAThread = 1 << 19;
inline int64_t RowsWorthAThread(int64_t cols) { return std::max<int64_t>(1, (1 << 16) / (cols + 1)); }

// Spins until the condition holds. Returns false if it does not hold after `spins` tests.
template <class Condition>
bool SpinUntil(const Condition& condition, int spins = kSpins) {
  for (int spin = 0; spin < spins; ++spin) {
    if (condition()) return true;
    Pause();
  }
  return false;
}

enum class Order { kForward, kBackward };

// Calls body(begin, end) for consecutive ranges of [0, count) of `block` elements (the last may be short).
// Each thread owns a share of consecutive blocks. With the same number of threads the shares are the same in
// every loop, so that data which one loop leaves in a core's cache is there for the next. A thread that has
// finished its own share takes blocks from the shares of others. Throws what a block threw, the first one.
template <class Body>
void ParallelFor(const Executor& executor, int64_t count, int64_t block, const Body& body,
                 Order order = Order::kForward) {
  if (count <= 0) return;
  block = std::max<int64_t>(1, block);
  const int64_t blocks = DivideUp(count, block);
  const int64_t threads = executor.schedule ? std::clamp<int64_t>(executor.threads, 1, blocks) : 1;
  // Block number `place` of a share.
  auto run = [count, block, blocks, threads, order, &body](int64_t share, int64_t place) {
    const int64_t index = order == Order::kForward ? blocks * share / threads + place
                                                   : blocks * (share + 1) / threads - 1 - place;
    FlushDenormals flush;
    body(index * block, std::min(count, (index + 1) * block));
  };
  if (threads <= 1) {
    for (int64_t place = 0; place < blocks; ++place) run(0, place);
    return;
  }

  struct Shared {
    explicit Shared(int64_t threads) : next(new std::atomic<int64_t>[static_cast<size_t>(threads)]()) {}
    std::unique_ptr<std::atomic<int64_t>[]> next;  // blocks taken of each share
    std::atomic<int64_t> helpers{0}, finished{0};
    std::atomic<bool> failed{false};
    std::exception_ptr failure;  // what the first of them threw; read when all blocks are finished
    std::mutex mutex;
    std::condition_variable all_finished;
  };
  auto shared = std::make_shared<Shared>(threads);  // a helper that starts late must still find it
  auto work = [shared, blocks, threads, run](int64_t me) noexcept {
    const auto attempt = [&](int64_t share, int64_t place) {
      if (shared->failed.load()) return;
      try {
        run(share, place);
      } catch (...) {
        if (!shared->failed.exchange(true)) shared->failure = std::current_exception();
      }
    };
    int64_t mine = 0;
    for (int64_t turn = 0; turn < threads; ++turn) {
      const int64_t share = (me + turn) % threads;
      const int64_t size = blocks * (share + 1) / threads - blocks * share / threads;
      for (int64_t place; (place = shared->next[share].fetch_add(1)) < size; ++mine) attempt(share, place);
    }
    if (mine == 0 || shared->finished.fetch_add(mine) + mine < blocks) return;
    std::lock_guard<std::mutex> lock(shared->mutex);  // or the caller could go to sleep after this
    shared->all_finished.notify_all();
  };
  try {
    for (int64_t i = 1; i < threads; ++i)
      executor.schedule([shared, work] { work(shared->helpers.fetch_add(1) + 1); });
  } catch (...) {
    // A pool without memory for one more task: the threads that have been asked, or the caller alone, do all.
  }
  work(0);
  const auto finished = [&] { return shared->finished.load() == blocks; };
  if (!SpinUntil(finished, executor.spins)) {
    std::unique_lock<std::mutex> lock(shared->mutex);
    shared->all_finished.wait(lock, finished);
  }
  // A helper that starts late holds the rest of `shared`, and may end after the exception has been handled.
  if (const std::exception_ptr failure = std::exchange(shared->failure, nullptr))
    std::rethrow_exception(failure);
}

}  // namespace fslcore
