// SPDX-License-Identifier: MIT
// Stands in for a GPU where there is none, so that the files of csrc/cuda run under the sanitizers on any
// machine: each thread of a block is a fibre, the blocks run one after the other. What it is strict about:
//   - __syncthreads and the warp's collectives must be reached by all threads that have not returned: a block
//   that
//     cannot go on aborts the process;
//   - fibres are resumed in an order that `schedule` chooses: results that change with it are races;
//   - shared memory is of the size that was asked for (the address sanitizer sees behind it) and starts as
//   NaN.
// What it cannot see: warps that do not run in step between collectives, memory order, and speed.
#pragma once
#define FSLCORE_CUDA_ON_CPU
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cmath>
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
#include <type_traits>
#include <vector>

#include "core/arrays/float_bits.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};
inline Index3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(4) uchar4 {
  unsigned char x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using cudaStream_t = struct CUstream_st*;
using cudaError_t = int;
inline constexpr cudaError_t cudaSuccess = 0;
inline const char* cudaGetErrorString(cudaError_t) { return "an error"; }
inline cudaError_t cudaMemsetAsync(void* data, int byte, size_t bytes, cudaStream_t) {
  std::memset(data, byte, bytes);
  return cudaSuccess;
}

namespace cuda_on_cpu {

inline constexpr int kWarp = 32;

enum class Schedule { kForwards, kBackwards, kShuffled };
inline Schedule schedule = Schedule::kForwards;

enum class State { kReady, kAtBlock, kAtWarp, kDone };

struct Fibre {
  ucontext_t context;
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
    live_ = threads;
    for (int t = 0; t < threads; ++t) Start(*fibres_[static_cast<size_t>(t)], static_cast<unsigned>(t));
    while (live_ > 0) {
      bool resumed = false;
      for (int t : Order(threads)) {
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

  std::vector<int> Order(int threads) {
    std::vector<int> order(static_cast<size_t>(threads));
    std::iota(order.begin(), order.end(), 0);
    if (schedule == Schedule::kBackwards) std::reverse(order.begin(), order.end());
    if (schedule == Schedule::kShuffled) std::shuffle(order.begin(), order.end(), random_);
    return order;
  }

  void Start(Fibre& fibre, unsigned thread) {
    if (!fibre.stack) fibre.stack.reset(new char[kStack]);
    fibre.thread = thread;
    fibre.state = State::kReady;
    fibre.parity = 0;
    fibre.fake_stack = nullptr;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.get();
    fibre.context.uc_stack.ss_size = kStack;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, reinterpret_cast<void (*)()>(&Block::Enter), 0);
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
    swapcontext(&scheduler_, &fibre.context);
    FinishSwitch(scheduler_fake_stack_, false);
  }

  void Leave() {
    Fibre& fibre = *current_;
    // A fibre that has ended gives its fake stack back.
    StartSwitch(fibre.state == State::kDone ? nullptr : &fibre.fake_stack, scheduler_stack_, scheduler_size_);
    swapcontext(&fibre.context, &scheduler_);
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
  std::minstd_rand random_;
  Fibre* current_ = nullptr;
  int live_ = 0;
  ucontext_t scheduler_;
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

// What the warp's lanes hold, by lane; valid until the caller's next collective.
template <class T>
const uint64_t* Exchange(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return block.Exchange(bits);
}

// What the warp's lanes hold, by lane, for values that a slot is too small for; valid until the caller's next
// collective. All lanes must take part.
template <class T>
std::array<const T*, kWarp> Gather(const T& value) {
  static_assert(sizeof(T) <= sizeof(Fibre::registers[0]) && std::is_trivially_copyable_v<T>);
  void* own = block.Registers();
  std::memcpy(own, &value, sizeof value);
  const uint64_t* slots = Exchange(reinterpret_cast<uint64_t>(own));
  std::array<const T*, kWarp> lanes;
  for (size_t i = 0; i < kWarp; ++i) lanes[i] = reinterpret_cast<const T*>(slots[i]);
  return lanes;
}

template <class T>
T FromBits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace cuda_on_cpu

inline void __syncthreads() { cuda_on_cpu::block.Wait(cuda_on_cpu::State::kAtBlock); }
inline int __syncthreads_or(int predicate) {
  static int any = 0;
  any |= predicate != 0;
  __syncthreads();
  const int result = any;
  __syncthreads();
  any = 0;
  __syncthreads();
  return result;
}
inline void __syncwarp(unsigned = ~0u) { cuda_on_cpu::Exchange(0); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  const unsigned lane = cuda_on_cpu::block.lane();
  return cuda_on_cpu::FromBits<T>(cuda_on_cpu::Exchange(value)[(lane ^ static_cast<unsigned>(mask)) % 32]);
}
inline unsigned __ballot_sync(unsigned, bool predicate) {
  const uint64_t* lanes = cuda_on_cpu::Exchange<uint64_t>(predicate);
  unsigned bits = 0;
  for (unsigned i = 0; i < cuda_on_cpu::kWarp; ++i) bits |= lanes[i] ? 1u << i : 0u;
  return bits;
}
inline bool __any_sync(unsigned mask, bool predicate) { return __ballot_sync(mask, predicate) != 0; }

template <class T>
T atomicAdd(T* address, T value) {
  const T old = *address;
  *address = old + value;
  return old;
}
template <class T>
T atomicMin(T* address, T value) {
  const T old = *address;
  *address = std::min(old, value);
  return old;
}
template <class T>
T atomicMax(T* address, T value) {
  const T old = *address;
  *address = std::max(old, value);
  return old;
}
template <class T>
T atomicOr(T* address, T value) {
  const T old = *address;
  *address = old | value;
  return old;
}

template <class T>
T __ldg(const T* address) {
  return *address;
}
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline unsigned __float_as_uint(float value) { return fslcore::FloatBits(value); }
inline float __uint_as_float(unsigned bits) { return fslcore::BitsFloat(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline void __threadfence() {}
