// SPDX-License-Identifier: MIT
// Runs a CUDA kernel on the CPU: each thread of a block is a fibre, the blocks run one after the other. See
// cuda_runtime.h for what this is strict about.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <numeric>
#include <random>
#include <vector>

#include "tests/cuda_on_cpu/context.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};
inline Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_cpu {

inline constexpr int kWarp = 32;

enum class Schedule { kForwards, kBackwards, kShuffled };
inline Schedule schedule = Schedule::kForwards;

enum class State { kReady, kAtBlock, kAtWarp, kDone };

struct Fibre {
  Context context;
  std::unique_ptr<char[]> stack;
  void* fake_stack = nullptr;
  State state = State::kDone;
  unsigned thread = 0;
  int parity = 0;  // of the warp's collectives: their slots alternate, so that one barrier is enough
  alignas(16) char registers[2][64];  // what a lane shows to its warp beyond a slot, alternating likewise
};

struct Slots {
  uint64_t values[2][kWarp];
};

class Block {
 public:
  static constexpr size_t kStack = 256 << 10;

  void Run(int threads, int64_t shared_bytes, const std::function<void()>& body) {
    body_ = &body;
    shared_.reset(static_cast<char*>(::operator new(static_cast<size_t>(shared_bytes), kSharedAlignment)));
    std::memset(shared_.get(), 0xFF, static_cast<size_t>(shared_bytes));
    warps_.resize(static_cast<size_t>((threads + kWarp - 1) / kWarp));
    while (fibres_.size() < static_cast<size_t>(threads)) fibres_.push_back(std::make_unique<Fibre>());
    order_.resize(static_cast<size_t>(threads));
    std::iota(order_.begin(), order_.end(), 0);
    if (schedule == Schedule::kBackwards) std::reverse(order_.begin(), order_.end());
    live_ = threads;
    for (int t = 0; t < threads; ++t) Start(*fibres_[static_cast<size_t>(t)], static_cast<unsigned>(t));
    while (live_ > 0) {
      bool resumed = false;
      if (schedule == Schedule::kShuffled) std::shuffle(order_.begin(), order_.end(), random_);
      for (int t : order_) {
        Fibre& fibre = *fibres_[static_cast<size_t>(t)];
        if (fibre.state != State::kReady) continue;
        Resume(fibre);
        resumed = true;
      }
      const bool released = Release(threads);
      if (!resumed && !released && live_ > 0) {
        std::fprintf(stderr, "block %u: threads wait for others that do not come\n", blockIdx.x);
        std::abort();
      }
    }
  }

  void Wait(State state) {
    current_->state = state;
    Leave();
  }

  // The slots of the warp in which each lane has put its value.
  const uint64_t* Exchange(uint64_t value) {
    Fibre& fibre = *current_;
    uint64_t* slots = warps_[fibre.thread / kWarp].values[fibre.parity ^= 1];
    slots[fibre.thread % kWarp] = value;
    Wait(State::kAtWarp);
    return slots;
  }

  // Where the calling lane keeps what its next collective shows, until the collective after that one.
  void* Registers() { return current_->registers[current_->parity ^ 1]; }

  unsigned lane() const { return current_->thread % kWarp; }

  void* shared() const { return shared_.get(); }

 private:
  static constexpr std::align_val_t kSharedAlignment{128};
  struct Free {
    void operator()(char* memory) const { ::operator delete(memory, kSharedAlignment); }
  };

  void Start(Fibre& fibre, unsigned thread) {
    if (!fibre.stack) fibre.stack.reset(new char[kStack]);
    fibre.thread = thread;
    fibre.state = State::kReady;
    fibre.parity = 0;
    fibre.fake_stack = nullptr;
    Prepare(fibre.context, fibre.stack.get(), kStack, &Block::Enter);
  }

  static void Enter();

  void Body() {
    FinishSwitch(nullptr, true);
    (*body_)();
    current_->state = State::kDone;
    --live_;
    Leave();
  }

  void Resume(Fibre& fibre) {
    current_ = &fibre;
    threadIdx = {fibre.thread, 0, 0};
    StartSwitch(&scheduler_fake_stack_, fibre.stack.get(), kStack);
    Switch(scheduler_, fibre.context);
    FinishSwitch(scheduler_fake_stack_, false);
  }

  void Leave() {
    Fibre& fibre = *current_;
    // A fibre that has ended gives its fake stack back.
    StartSwitch(fibre.state == State::kDone ? nullptr : &fibre.fake_stack, scheduler_stack_, scheduler_size_);
    Switch(fibre.context, scheduler_);
    FinishSwitch(fibre.fake_stack, true);
  }

  // Lets those go on whose barrier is complete.
  bool Release(int threads) {
    bool released = false;
    const auto all = [&](int begin, int end, State state) {
      bool any = false;
      for (int t = begin; t < end; ++t) {
        const State s = fibres_[static_cast<size_t>(t)]->state;
        if (s != state && s != State::kDone) return false;
        any |= s == state;
      }
      if (any)
        for (int t = begin; t < end; ++t)
          if (Fibre& f = *fibres_[static_cast<size_t>(t)]; f.state == state) f.state = State::kReady;
      return any;
    };
    for (int begin = 0; begin < threads; begin += kWarp)
      released |= all(begin, std::min(begin + kWarp, threads), State::kAtWarp);
    return all(0, threads, State::kAtBlock) || released;
  }

#if defined(__SANITIZE_ADDRESS__)
  void StartSwitch(void** fake, const void* stack, size_t size) {
    __sanitizer_start_switch_fiber(fake, stack, size);
  }
  void FinishSwitch(void* fake, bool in_fibre) {
    const void* stack;
    size_t size;
    __sanitizer_finish_switch_fiber(fake, &stack, &size);
    if (in_fibre) scheduler_stack_ = stack, scheduler_size_ = size;
  }
#else
  void StartSwitch(void**, const void*, size_t) {}
  void FinishSwitch(void*, bool) {}
#endif

  const std::function<void()>* body_ = nullptr;
  std::vector<std::unique_ptr<Fibre>> fibres_;
  std::vector<Slots> warps_;
  std::unique_ptr<char, Free> shared_;
  std::vector<int> order_;
  std::minstd_rand random_;
  Fibre* current_ = nullptr;
  int live_ = 0;
  Context scheduler_;
  void* scheduler_fake_stack_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  size_t scheduler_size_ = 0;
};

inline Block block;
inline void Block::Enter() { block.Body(); }

inline void* shared_memory() { return block.shared(); }

inline void Run(int64_t blocks, int threads, int64_t shared_bytes, const std::function<void()>& body) {
  gridDim = {static_cast<unsigned>(blocks), 1, 1};
  blockDim = {static_cast<unsigned>(threads), 1, 1};
  for (int64_t b = 0; b < blocks; ++b) {
    blockIdx.x = static_cast<unsigned>(schedule == Schedule::kBackwards ? blocks - 1 - b : b);
    block.Run(threads, shared_bytes, body);
  }
}

}  // namespace cuda_on_cpu
