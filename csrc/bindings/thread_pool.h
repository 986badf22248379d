// SPDX-License-Identifier: MIT
// The threads of the NumPy interface; TensorFlow and XLA bring their own.
#pragma once
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "core/threads/parallel.h"

namespace fslcore {

class ThreadPool {
 public:
  explicit ThreadPool(int threads) : threads_(threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { Work(); });  // the caller is the first
  }
  ~ThreadPool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }
  pid_t process() const { return process_; }  // in which the threads run; a fork does not copy them
  Executor executor() {
    return {threads_, [this](std::function<void()> task) {
              {
                std::lock_guard<std::mutex> lock(mutex_);
                tasks_.push_back(std::move(task));
                ++waiting_;
              }
              wake_.notify_one();
            }};
  }

 private:
  void Work() {
    for (;;) {
      LookFor([this] { return waiting_.load(std::memory_order_relaxed) > 0; });  // the next loop of a kernel
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (stopping_) return;
      std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      --waiting_;
      lock.unlock();
      task();
    }
  }

  int threads_;
  pid_t process_ = getpid();
  bool stopping_ = false;
  std::atomic<int> waiting_{0};  // tasks_.size(), read without the mutex
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> workers_;
};

}  // namespace fslcore
