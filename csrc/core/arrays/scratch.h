// SPDX-License-Identifier: MIT
// Uninitialised, 64-byte aligned memory for the orchestrating functions; the inner kernels never allocate.
//
// A thread keeps what it gives back for its next Scratch: a call that works on the sizes of the last one
// finds its pages mapped, and those of a block of a parallel loop in the cache of its core. It keeps at most
// kMostKept bytes, the latest ones, until it ends.
#pragma once
#include <cstdint>
#include <memory>

namespace fslcore {

inline constexpr int64_t kMostKept = 16 << 20;  // the packed rows of both sides, 4096 x 512 each

// Throws std::bad_alloc. Memory may be given back by another thread.
void* TakeScratch(int64_t bytes);
void GiveBackScratch(void* memory) noexcept;

template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t size) : data_(static_cast<T*>(TakeScratch(size * int64_t{sizeof(T)}))) {}
  T* get() const { return data_.get(); }
  T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { GiveBackScratch(p); }
  };
  std::unique_ptr<T, Free> data_;
};

}  // namespace fslcore
