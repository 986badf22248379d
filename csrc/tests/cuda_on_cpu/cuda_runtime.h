// SPDX-License-Identifier: MIT
// Stands in for a GPU where there is none, so that the files of csrc/cuda run under the sanitizers on any
// machine. It is strict about:
//   - __syncthreads and the warp's collectives must be reached by all threads that have not returned: a block
//     that cannot go on aborts the process;
//   - threads are resumed in an order that `schedule` chooses: results that change with it are races;
//   - shared memory is of the size that was asked for (the address sanitizer sees accesses behind it) and
//     starts as NaN.
// It cannot see warps that do not run in step between collectives, memory order, and speed.
#pragma once
#define FSLCORE_CUDA_ON_CPU
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/arrays/float_bits.h"
#include "tests/cuda_on_cpu/block.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

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

// Threads take turns at collectives only, so every access is atomic. These return the old value.
template <class T>
T atomicAdd(T* address, T value) {
  return std::exchange(*address, *address + value);
}
template <class T>
T atomicMin(T* address, T value) {
  return std::exchange(*address, std::min(*address, value));
}
template <class T>
T atomicMax(T* address, T value) {
  return std::exchange(*address, std::max(*address, value));
}
template <class T>
T atomicOr(T* address, T value) {
  return std::exchange(*address, *address | value);
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
