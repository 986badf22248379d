// SPDX-License-Identifier: MIT
// Elements of a sequence, made ahead of their use on borrowed threads and taken in order.
//
// Threads are asked for when half of the elements ahead are used up, so that a thread is woken for several of
// them. Whoever takes an element that nobody has begun makes it himself: a pool that is full or busy costs no
// time, and none is needed.
#pragma once
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "core/threads/parallel.h"

namespace fslcore {

template <class Made>
class Ahead : public std::enable_shared_from_this<Ahead<Made>> {
 public:
  using Make = std::function<Made(int64_t index)>;  // called by several threads at a time; throws nothing

  // The elements [first, end), at most `room` of them at a time, made by `threads` threads.
  Ahead(Make make, int64_t first, int64_t end, int64_t room, int threads)
      : make_(std::move(make)), room_(room), threads_(threads), next_(first), end_(end) {}

  // The next element, or nothing after the last one.
  std::optional<Made> Take(const std::function<void(std::function<void()>)>& schedule) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (slots_.empty()) {
      if (next_ >= end_) return std::nullopt;
      const int64_t index = next_++;
      Ask(lock, schedule);
      lock.unlock();
      return make_(index);
    }
    const std::shared_ptr<Slot> slot = std::move(slots_.front());
    slots_.pop_front();
    Ask(lock, schedule);
    const auto made = [&] { return slot->is_made.load(); };
    if (!made()) {
      lock.unlock();
      const bool found = SpinUntil(made);
      lock.lock();
      if (!found) changed_.wait(lock, made);
    }
    return std::move(slot->made);
  }

  // Leaves out the next elements; returns how many there were to leave out.
  int64_t Skip(int64_t count) {
    std::lock_guard<std::mutex> lock(mutex_);
    const int64_t skipped = std::min(count, end_ - Position());
    const auto dropped = std::min<int64_t>(skipped, static_cast<int64_t>(slots_.size()));
    slots_.erase(slots_.begin(), slots_.begin() + dropped);
    next_ += skipped - dropped;
    return skipped;
  }

  // The index of the element that is taken next.
  int64_t position() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return Position();
  }

  // Has the threads stop after the elements that they have begun.
  void Close() {
    std::lock_guard<std::mutex> lock(mutex_);
    end_ = next_;
  }

 private:
  struct Slot {
    Made made;
    std::atomic<bool> is_made{false};
  };

  int64_t Position() const { return next_ - static_cast<int64_t>(slots_.size()); }

  // Asks for one more thread if there is enough to do. The lock is given up meanwhile: a pool that is full
  // runs what it is given at once.
  void Ask(std::unique_lock<std::mutex>& lock, const std::function<void(std::function<void()>)>& schedule) {
    if (2 * static_cast<int64_t>(slots_.size()) > room_ || asked_ >= threads_ || next_ >= end_) return;
    ++asked_;
    lock.unlock();
    try {
      schedule([self = this->shared_from_this()] { self->Fill(); });
      lock.lock();
    } catch (...) {  // no memory for one more task
      lock.lock();
      --asked_;
    }
  }

  void Fill() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (next_ < end_ && static_cast<int64_t>(slots_.size()) < room_) {
      std::shared_ptr<Slot> slot;
      try {
        slot = std::make_shared<Slot>();
        slots_.push_back(slot);
      } catch (...) {  // no memory: the element is left to whoever takes it
        break;
      }
      const int64_t index = next_++;
      lock.unlock();
      slot->made = make_(index);
      lock.lock();
      slot->is_made.store(true);
      changed_.notify_all();
    }
    --asked_;
  }

  const Make make_;
  const int64_t room_;
  const int threads_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Slot>> slots_;  // begun, in order, not taken
  int64_t next_, end_;                       // the first that nobody has begun; the end
  int asked_ = 0;                            // threads that fill, or have been asked to
};

}  // namespace fslcore
