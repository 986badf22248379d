// SPDX-License-Identifier: MIT
// Tasks that are handed to threads. The queue owns no thread: whoever has threads, the pool of the NumPy
// interface (bindings/thread_pool.h) or a Team of borrowed ones (team.h), has them call Serve().
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>

#include "core/threads/parallel.h"

namespace fslcore {

class TaskQueue {
 public:
  void Add(std::function<void()> task) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    // Raised after unlocking, so that a spinning thread does not run into the lock, and sleep.
    ready_.fetch_add(1);
    changed_.notify_one();
  }

  // Has every Serve() return. Tasks that have not begun are dropped: they belong to loops whose callers
  // have done all the work themselves.
  void End() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      over_.store(true);
    }
    changed_.notify_all();
  }

  // Runs tasks on the calling thread until End(). Between two tasks the thread spins before it sleeps.
  void Serve(int spins) {
    for (;;) {
      SpinUntil([this] { return ready_.load() > 0 || over_.load(); }, spins);
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return over_.load() || !tasks_.empty(); });
      if (over_.load()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      ready_.fetch_sub(1);
      task();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::atomic<int64_t> ready_{
      0};  // tasks_.size() without the lock, up to tasks that are being added or taken
  std::atomic<bool> over_{false};
};

}  // namespace fslcore
