// SPDX-License-Identifier: MIT
// A parallel loop over whatever threads the caller owns (TensorFlow's, XLA's, or our own under pybind11).
//
// The calling thread takes blocks like any helper and waits only for blocks that are already running, so
// the loop may be entered from a thread of the same pool without deadlock. Blocks are a function of the
// problem alone, never of the number of threads: that is what keeps results bit-identical for any pool.
#pragma once
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "core/rounding.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fslcore {

struct Executor {
  int threads = 1;
  std::function<void(std::function<void()>)> schedule;  // may be empty when threads == 1
};

// TensorFlow's threads flush denormals to zero and others do not: every block runs with flushing on, so a
// kernel gives the same bits from NumPy and from TensorFlow.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040u); }  // FTZ | DAZ
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

// A hand-off to another thread takes some ten microseconds: operations between registers and caches that are
// worth one, and rows of `cols` floats of which each is touched once.
inline constexpr int64_t kWorkWorthAThread = 1 << 19;
inline int64_t RowsWorthAThread(int64_t cols) { return std::max<int64_t>(1, (1 << 16) / (cols + 1)); }

// Waits for something that is due at once, for some fifty microseconds: about what it takes a sleeping thread
// to wake on a virtual machine. True if it has come.
template <class Condition>
bool LookFor(const Condition& condition) {
  for (int look = 0; look < 1500; ++look) {
    if (condition()) return true;
#if defined(__x86_64__)
    _mm_pause();
#endif
  }
  return false;
}

// Calls body(begin, end) for consecutive ranges of [0, count) of `block` elements (the last may be short).
template <class Body>
void ParallelFor(const Executor& executor, int64_t count, int64_t block, const Body& body) {
  if (count <= 0) return;
  block = std::max<int64_t>(1, block);
  const int64_t blocks = DivideUp(count, block);
  auto run = [count, block, &body](int64_t index) {
    FlushDenormals flush;
    body(index * block, std::min(count, (index + 1) * block));
  };
  const int64_t helpers = std::min<int64_t>(executor.threads, blocks) - 1;
  if (helpers <= 0 || !executor.schedule) {
    for (int64_t index = 0; index < blocks; ++index) run(index);
    return;
  }

  struct Shared {
    std::atomic<int64_t> next{0}, finished{0};
    std::mutex mutex;
    std::condition_variable all_finished;
  };
  auto shared = std::make_shared<Shared>();  // a helper that starts late must still find it
  auto work = [shared, blocks, run] {
    int64_t mine = 0;
    for (int64_t index; (index = shared->next.fetch_add(1)) < blocks; ++mine) run(index);
    if (mine == 0 || shared->finished.fetch_add(mine) + mine < blocks) return;
    std::lock_guard<std::mutex> lock(shared->mutex);  // or the caller could go to sleep after this
    shared->all_finished.notify_all();
  };
  for (int64_t i = 0; i < helpers; ++i) executor.schedule(work);
  work();
  const auto finished = [&] { return shared->finished.load() == blocks; };
  if (LookFor(finished)) return;
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_finished.wait(lock, finished);
}

}  // namespace fslcore
