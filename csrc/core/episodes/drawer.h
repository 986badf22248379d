// SPDX-License-Identifier: MIT
// Draws episodes one after the other, on one thread. What an episode holds is said in episodes.h.
#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "core/episodes/classes.h"
#include "core/random/philox.h"

namespace fslcore {

// Draws without replacement from 0..n-1. The swaps are undone after each draw, so the array stays the
// identity and a draw costs its own length instead of the length of the array.
class Shuffle {
 public:
  explicit Shuffle(int64_t largest) : items_(static_cast<size_t>(largest)) {
    std::iota(items_.begin(), items_.end(), 0);
  }

  template <class Take>
  void Draw(PhiloxStream stream, int64_t n, int64_t count, const Take& take) {
    swaps_.clear();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t j = i + stream.Below(static_cast<uint32_t>(n - i));
      std::swap(items_[static_cast<size_t>(i)], items_[static_cast<size_t>(j)]);
      swaps_.push_back(j);
      take(i, items_[static_cast<size_t>(i)]);
    }
    for (int64_t i = count; i-- > 0;)
      std::swap(items_[static_cast<size_t>(i)], items_[static_cast<size_t>(swaps_[static_cast<size_t>(i)])]);
  }

 private:
  std::vector<int32_t> items_;
  std::vector<int64_t> swaps_;
};

class Drawer {
 public:
  // The classes must outlive the object. Each counts `copies` times, as classes of their own with the same
  // members: number c + classes.count() * i is copy i of class c. Fewer than 2^31 in all.
  explicit Drawer(const Classes& classes, int64_t copies = 1)
      : classes_(classes), count_(classes.count() * copies), shuffle_(Largest(classes, count_)) {}

  // ways [n_way]: the numbers of the classes; positions [n_way, samples]: of their members in the labels.
  template <class Position>
  void Draw(int64_t seed, int64_t episode, int64_t n_way, int64_t samples, int32_t* ways,
            Position* positions) {
    const auto stream = [&](int64_t number) {
      return PhiloxStream(static_cast<uint64_t>(seed), static_cast<uint64_t>(episode),
                          static_cast<uint32_t>(number));
    };
    shuffle_.Draw(stream(0), count_, n_way, [&](int64_t way, int32_t number) { ways[way] = number; });
    for (int64_t way = 0; way < n_way; ++way, positions += samples) {
      const int64_t c = ways[way] % classes_.count();
      shuffle_.Draw(stream(1 + way), classes_.size(c), samples,
                    [&](int64_t i, int32_t member) { positions[i] = classes_.begin(c)[member]; });
    }
  }

 private:
  static int64_t Largest(const Classes& classes, int64_t count) {
    int64_t largest = count;
    for (int64_t c = 0; c < classes.count(); ++c) largest = std::max(largest, classes.size(c));
    return largest;
  }

  const Classes& classes_;
  int64_t count_;
  Shuffle shuffle_;
};

}  // namespace fslcore
