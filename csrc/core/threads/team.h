// SPDX-License-Identifier: MIT
// Threads of an executor that stay awake between the parallel loops of one long operation: to wake one takes
// some fifty microseconds, as long as many a loop of a small network. A Team borrows threads of TensorFlow,
// XLA or the NumPy interface and starts none; its executor takes the place of theirs for the operation.
#pragma once
#include <functional>
#include <memory>
#include <utility>

#include "core/threads/parallel.h"
#include "core/threads/task_queue.h"

namespace fslcore {

class Team {
 public:
  // Asks for all threads of the executor except the caller's. Nobody waits for those that come late or never.
  explicit Team(const Executor& whole) {
    executor_.threads = whole.schedule ? whole.threads : 1;
    executor_.spins = kTeamSpins;
    executor_.schedule = [queue = queue_](std::function<void()> task) { queue->Add(std::move(task)); };
    this_thread_asks_ = true;
    try {
      for (int i = 1; i < executor_.threads; ++i)
        whole.schedule([queue = queue_] {
          // A pool that is full runs what it is given on the calling thread. The owner of the team must not
          // serve: it would wait for its own end.
          if (!this_thread_asks_) queue->Serve(kTeamSpins);
        });
    } catch (...) {
      // No memory to ask one more. Those that were asked must not serve a team that was never made.
    }
    this_thread_asks_ = false;
  }
  ~Team() { queue_->End(); }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  const Executor& executor() const { return executor_; }

 private:
  inline static thread_local bool this_thread_asks_ = false;
  static constexpr int kTeamSpins = 10 * kSpins;  // longer than the time between two loops

  std::shared_ptr<TaskQueue> queue_ = std::make_shared<TaskQueue>();  // threads may outlive the team
  Executor executor_;
};

}  // namespace fslcore
