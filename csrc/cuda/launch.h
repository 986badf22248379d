// SPDX-License-Identifier: MIT
// What every CUDA file needs: the runtime, a way to start kernels on a stream, and the caller's memory in
// parts. The tests build the same files as C++, where the cuda_runtime.h of tests/cuda_on_cpu stands in for
// the GPU; hence kernels are started by Launches and not by <<< >>>, and name their shared memory with
// SharedMemory.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <type_traits>

#include "core/arrays/rounding.h"
#include "cuda/stream.h"

// Before loops over arrays that are to stay in registers: there, indices must be constants.
#if defined(FSLCORE_CUDA_ON_CPU)
#define FSLCORE_UNROLL
#else
#define FSLCORE_UNROLL _Pragma("unroll")
#endif

namespace fslcore::cuda {

struct Grid {
  int64_t blocks;
  int threads;               // of a block
  int64_t shared_bytes = 0;  // of a block, for SharedMemory
};

// Kernels that follow each other on a stream. After the first that cannot be started no other is.
class Launches {
 public:
  Launches(Stream stream, const char* what) : stream_(stream), what_(what) {}

  template <class... Parameters>
  void Run(const Grid& grid, void (*kernel)(Parameters...), std::common_type_t<Parameters>... arguments) {
    if (!problem_.empty() || grid.blocks == 0) return;
#if defined(FSLCORE_CUDA_ON_CPU)
    cuda_on_cpu::Run(grid.blocks, grid.threads, grid.shared_bytes, [&] { kernel(arguments...); });
#else
    const auto* function = reinterpret_cast<const void*>(kernel);
    if (grid.shared_bytes > kSharedWithoutAsking)
      Check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(grid.shared_bytes)));
    void* pointers[] = {&arguments..., nullptr};
    if (problem_.empty())
      Check(cudaLaunchKernel(function, dim3(static_cast<unsigned>(grid.blocks)),
                             dim3(static_cast<unsigned>(grid.threads)), pointers,
                             static_cast<size_t>(grid.shared_bytes), stream_));
#endif
  }

  // Every byte of `count` elements becomes `byte`.
  template <class T>
  void Fill(T* data, int byte, int64_t count) {
    if (!problem_.empty() || count == 0) return;
    Check(cudaMemsetAsync(data, byte, static_cast<size_t>(count) * sizeof(T), stream_));
  }

  void Check(cudaError_t error) {
    if (error != cudaSuccess) Fail(cudaGetErrorString(error));
  }
  void Fail(const std::string& problem) {
    if (problem_.empty()) problem_ = std::string(what_) + " on the GPU: " + problem;
  }

  Stream stream() const { return stream_; }
  // An error message, or an empty string.
  const std::string& problem() const { return problem_; }

 private:
  static constexpr int64_t kSharedWithoutAsking = 48 << 10;

  Stream stream_;
  const char* what_;
  std::string problem_;
};

// Takes the caller's workspace apart; on a null workspace it measures what would be taken.
class Parts {
 public:
  explicit Parts(void* workspace) : base_(static_cast<char*>(workspace)) {}

  template <class T>
  T* Take(int64_t count) {
    T* part = reinterpret_cast<T*>(base_ ? base_ + bytes_ : nullptr);
    bytes_ += RoundUp(count * static_cast<int64_t>(sizeof(T)), kAlignment);
    return part;
  }
  int64_t bytes() const { return bytes_; }

 private:
  static constexpr int64_t kAlignment = 256;

  char* base_;
  int64_t bytes_ = 0;
};

// The shared memory of the block, of the size that its Grid says; uninitialised.
template <class T>
__device__ T* SharedMemory() {
#if defined(FSLCORE_CUDA_ON_CPU)
  return reinterpret_cast<T*>(cuda_on_cpu::shared_memory());
#else
  extern __shared__ __align__(128) unsigned char fslcore_shared_memory[];
  return reinterpret_cast<T*>(fslcore_shared_memory);
#endif
}

}  // namespace fslcore::cuda
