// SPDX-License-Identifier: MIT
// Device memory for the benchmark, and what fills it. An error of the device ends the program with a message:
// later measurements would be wrong.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/arrays/views.h"

namespace fslcore::bench {

// Ends the program with a message if there is an error.
void Require(const std::string& problem);
void Require(cudaError_t error);

// Copies share the memory; the last one frees it.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t size) : size_(size) {
    void* memory = nullptr;
    Require(cudaMalloc(&memory, bytes()));
    memory_.reset(static_cast<T*>(memory), [](T* data) { cudaFree(data); });
  }
  explicit Buffer(const std::vector<T>& values) : Buffer(static_cast<int64_t>(values.size())) {
    Require(cudaMemcpy(get(), values.data(), bytes(), cudaMemcpyHostToDevice));
  }

  T* get() const { return memory_.get(); }
  int64_t size() const { return size_; }
  size_t bytes() const { return static_cast<size_t>(size_) * sizeof(T); }
  Vector<const T> view() const { return {get(), size_}; }
  Matrix<const T> rows(int64_t cols) const { return {get(), size_ / cols, cols}; }

 private:
  int64_t size_;
  std::shared_ptr<T> memory_;
};

// Uniform in [-1, 1), the same for the same seed.
Buffer<float> RandomFloats(int64_t size, uint64_t seed);
Buffer<uint8_t> RandomBytes(int64_t size, uint64_t seed);
// Uniform in [0, below).
Buffer<int64_t> RandomNumbers(int64_t size, int64_t below, uint64_t seed);
// 0, 1, ..., classes - 1, 0, 1, ...
Buffer<int64_t> RoundRobinLabels(int64_t size, int64_t classes);

}  // namespace fslcore::bench
