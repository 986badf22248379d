// SPDX-License-Identifier: MIT
// Threads of an executor that stay awake between the parallel loops of one long operation: to wake one takes
// some fifty microseconds, as long as many a loop of a small network.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "core/threads/parallel.h"

namespace fslcore {

class Team {
 public:
  // Asks for all threads of the executor but the caller's. Those that come late, or never, are not waited
  // for.
  explicit Team(const Executor& whole) : shared_(std::make_shared<Shared>()) {
    executor_.threads = whole.schedule ? whole.threads : 1;
    executor_.looks = kLooksOfTeam;
    executor_.schedule = [shared = shared_](std::function<void()> task) { shared->Add(std::move(task)); };
    this_thread_asks_ = true;
    for (int i = 1; i < executor_.threads; ++i)
      whole.schedule([shared = shared_] {
        // A pool that is full has the owner itself run what it schedules, and the owner must not wait for
        // its own end.
        if (!this_thread_asks_) shared->Serve();
      });
    this_thread_asks_ = false;
  }
  ~Team() { shared_->End(); }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  const Executor& executor() const { return executor_; }

 private:
  class Shared {  // the threads may outlive the team
   public:
    void Add(std::function<void()> task) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        tasks_.push_back(std::move(task));
      }
      // Raised after unlocking, so that a thread that looks for it does not run into the lock, and sleep.
      ready_.fetch_add(1);
      changed_.notify_one();
    }
    void End() {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        over_.store(true);
      }
      changed_.notify_all();
    }
    void Serve() {
      for (;;) {
        LookFor([&] { return ready_.load() > 0 || over_.load(); }, kLooksOfTeam);
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return over_.load() || !tasks_.empty(); });
        if (over_.load()) return;  // what is left are loops that have ended without help
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
    std::atomic<int64_t> ready_{0};
    std::atomic<bool> over_{false};
  };

  inline static thread_local bool this_thread_asks_ = false;
  static constexpr int kLooksOfTeam = 10 * kLooks;  // longer than what lies between two loops

  std::shared_ptr<Shared> shared_;
  Executor executor_;
};

}  // namespace fslcore
