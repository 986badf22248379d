// SPDX-License-Identifier: MIT
// The threads of the NumPy interface; TensorFlow and XLA bring their own.
#pragma once
#include <sys/types.h>
#include <unistd.h>

#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "core/threads/parallel.h"
#include "core/threads/task_queue.h"

namespace fslcore {

class ThreadPool {
 public:
  // Throws std::system_error if the system does not give so many threads, and leaves none behind.
  explicit ThreadPool(int threads) : threads_(threads) {
    try {
      for (int i = 1; i < threads; ++i)  // the caller is the first
        workers_.emplace_back([this] { queue_.Serve(kSpins); });
    } catch (...) {
      End();
      throw;
    }
  }
  ~ThreadPool() { End(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }
  pid_t process() const { return process_; }  // in which the threads run; a fork does not copy them
  Executor executor() {
    return {threads_, [this](std::function<void()> task) { queue_.Add(std::move(task)); }};
  }

 private:
  void End() {
    queue_.End();
    for (std::thread& worker : workers_) worker.join();
  }

  int threads_;
  pid_t process_ = getpid();
  TaskQueue queue_;
  std::vector<std::thread> workers_;
};

}  // namespace fslcore
