// SPDX-License-Identifier: MIT
// What the tests share: buffers between sentinels, exact inputs, threads.
#pragma once
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "core/threads/parallel.h"

namespace fslcore {

inline constexpr float kSentinel = 12345.0f;
inline constexpr int64_t kGuard = 32;

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

// Integers from -8 to 7. Small enough that every sum of their products is exact in float32, in any order.
inline std::vector<float> Integers(int64_t size, unsigned seed) {
  std::vector<float> values(static_cast<size_t>(size));
  for (float& v : values) v = static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 28) - 8.0f;
  return values;
}

// Sizes around those of vectors, panels and tiles.
inline const std::vector<int64_t>& EdgeSizes() {
  static const std::vector<int64_t> sizes = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 129};
  return sizes;
}

inline Executor Threads(int count) {
  return {count, [](std::function<void()> task) { std::thread(std::move(task)).detach(); }};
}

}  // namespace fslcore
