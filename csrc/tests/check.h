// SPDX-License-Identifier: MIT
// What the tests share: expectations that count failures, buffers between sentinels, exact inputs, threads.
#pragma once
#include <cstdint>
#include <cstdio>
#include <functional>
#include <thread>
#include <vector>

#include "core/threads/parallel.h"

namespace fslcore {

inline constexpr float kSentinel = 12345.0f;
inline constexpr int64_t kGuard = 32;
inline int g_failures = 0;

inline void Expect(bool ok, const char* what, int64_t a, int64_t b) {
  if (ok) return;
  std::printf("FAILED %s (%lld, %lld)\n", what, static_cast<long long>(a), static_cast<long long>(b));
  ++g_failures;
}

// A buffer with sentinels on both sides, and one float off the vectors' alignment.
class Guarded {
 public:
  explicit Guarded(int64_t size)
      : size_(size), data_(static_cast<size_t>(size + 2 * kGuard + 1), kSentinel) {}
  float* get() { return data_.data() + kGuard + 1; }
  bool intact() const {
    for (int64_t i = 0; i < kGuard; ++i)
      if (data_[static_cast<size_t>(i)] != kSentinel ||
          data_[data_.size() - 1 - static_cast<size_t>(i)] != kSentinel)
        return false;
    return data_[kGuard] == kSentinel;
  }
  bool operator==(const Guarded& other) const { return data_ == other.data_; }
  int64_t size() const { return size_; }

 private:
  int64_t size_;
  std::vector<float> data_;
};

inline std::vector<float> Integers(int64_t size, unsigned seed) {
  std::vector<float> values(static_cast<size_t>(size));
  for (float& v : values) v = static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 28) - 8.0f;
  return values;
}

inline Executor Threads(int count) {
  return {count, [](std::function<void()> task) { std::thread(std::move(task)).detach(); }};
}

}  // namespace fslcore
