// SPDX-License-Identifier: MIT
// An array in the memory of the device for the tests: between sentinels, and poisoned until something is
// written. Where tests/cuda_on_cpu stands in for the GPU it is the process's own memory.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "cuda/launch.h"

namespace fslcore {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(int64_t size) : size_(size) {
    Allocate();
    Write(std::vector<T>(total(), Poison()).data(), 0, total());
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(static_cast<int64_t>(values.size())) {
    Write(values.data(), kGuard, values.size());
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { Free(); }

  T* get() const { return memory_ + kGuard; }
  int64_t size() const { return size_; }

  std::vector<T> values() const {
    const std::vector<T> all = Read();
    return {all.begin() + kGuard, all.begin() + kGuard + size_};
  }
  bool intact() const {
    const std::vector<T> all = Read();
    const T poison = Poison();
    for (size_t i = 0; i < kGuard; ++i)
      if (std::memcmp(&all[i], &poison, sizeof poison) != 0 ||
          std::memcmp(&all[all.size() - 1 - i], &poison, sizeof poison) != 0)
        return false;
    return true;
  }

 private:
  static constexpr size_t kGuard = 64;  // keeps vectors of four aligned

  static T Poison() {  // NaN, or far out of range
    T value;
    std::memset(&value, 0xFB, sizeof value);
    return value;
  }
  size_t total() const { return static_cast<size_t>(size_) + 2 * kGuard; }

#if defined(FSLCORE_CUDA_ON_CPU)
  void Allocate() { memory_ = new T[total()]; }
  void Free() { delete[] memory_; }
  void Write(const T* from, size_t at, size_t count) { std::copy_n(from, count, memory_ + at); }
  std::vector<T> Read() const { return {memory_, memory_ + total()}; }
#else
  void Allocate() { cudaMalloc(&memory_, total() * sizeof(T)); }
  void Free() { cudaFree(memory_); }
  void Write(const T* from, size_t at, size_t count) {
    cudaMemcpy(memory_ + at, from, count * sizeof(T), cudaMemcpyHostToDevice);
  }
  std::vector<T> Read() const {
    std::vector<T> all(total());
    cudaMemcpy(all.data(), memory_, total() * sizeof(T), cudaMemcpyDeviceToHost);
    return all;
  }
#endif

  int64_t size_;
  T* memory_ = nullptr;
};

}  // namespace fslcore
