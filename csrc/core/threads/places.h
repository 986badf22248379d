// SPDX-License-Identifier: MIT
// Places for the blocks of a parallel loop that run at the same time, for memory that one after the other
// uses.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "core/threads/parallel.h"

namespace fslcore {

class Places {
 public:
  explicit Places(const Executor& executor)
      : count_(executor.schedule ? std::max(1, executor.threads) : 1),
        taken_(new std::atomic<bool>[static_cast<size_t>(count_)]()) {}

  int64_t count() const { return count_; }

  // A place of which no other block makes use until the object ends. No more blocks run at a time than there
  // are places, so one is free.
  class Place {
   public:
    explicit Place(Places& places) : taken_(places.taken_.get()) {
      while (taken_[index_].exchange(true)) index_ = (index_ + 1) % places.count_;
    }
    ~Place() { taken_[index_].store(false); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    int64_t index() const { return index_; }

   private:
    std::atomic<bool>* taken_;
    int64_t index_ = 0;
  };

 private:
  int64_t count_;
  std::unique_ptr<std::atomic<bool>[]> taken_;
};

}  // namespace fslcore
