// SPDX-License-Identifier: MIT
// Uninitialised, 64-byte aligned memory for the orchestrating functions; the inner kernels never allocate.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace fslcore {

template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t size)
      : data_(static_cast<T*>(::operator new(sizeof(T) * static_cast<size_t>(size), std::align_val_t{64}))) {}
  T* get() const { return data_.get(); }
  T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  std::unique_ptr<T, Free> data_;
};

}  // namespace fslcore
