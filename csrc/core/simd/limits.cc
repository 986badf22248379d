// SPDX-License-Identifier: MIT
#include "core/simd/limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/arrays/scratch.h"
#include "core/simd/limit_kernels.h"

namespace fslcore {
namespace {

constexpr int kRounds = 20;
// One round of a few milliseconds on a core of today: long beside the start of the threads, and short enough
// for some rounds to go undisturbed.
constexpr int64_t kSteps = 500000;
constexpr int64_t kCopyBlock = 1 << 20;

// `work` in units per second, the best of the rounds; `round` does it once.
template <class Round>
double BestRate(double work, const Round& round) {
  double best = 0.0;
  for (int i = 0; i < kRounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    round();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, work / seconds.count());
  }
  return best;
}

}  // namespace

double MultiplyAddRate(const Executor& executor) {
  const int64_t threads = std::max(1, executor.threads);
  Scratch<float> results(threads);
  const double work = static_cast<double>(threads * simd::Limits().multiply_adds(kSteps, results.get()));
  return BestRate(work, [&] {
    ParallelFor(executor, threads, 1, [&](int64_t thread, int64_t) {
      simd::Limits().multiply_adds(kSteps, results.get() + thread);
    });
  });
}

double CopyRate(const Executor& executor, int64_t bytes) {
  Scratch<uint8_t> from(bytes), to(bytes);
  std::memset(from.get(), 1, static_cast<size_t>(bytes));  // the pages exist before the first round
  std::memset(to.get(), 2, static_cast<size_t>(bytes));
  return BestRate(static_cast<double>(bytes), [&] {
    ParallelFor(executor, bytes, kCopyBlock, [&](int64_t begin, int64_t end) {
      std::memcpy(to.get() + begin, from.get() + begin, static_cast<size_t>(end - begin));
    });
  });
}

}  // namespace fslcore
