// SPDX-License-Identifier: MIT
// Expectations of the checks of the CUDA kernels, which print and count failures. The checks are plain
// functions that need nothing but the CUDA toolkit, because the program of csrc/bench runs them on a GPU
// where no test framework is installed; on the CPU, GoogleTest runs them (cuda_on_cpu_test.cc).
#pragma once
#include <cstdint>
#include <cstdio>

namespace fslcore {

inline int g_failures = 0;

inline void Expect(bool ok, const char* what, int64_t a, int64_t b) {
  if (ok) return;
  std::printf("FAILED %s (%lld, %lld)\n", what, static_cast<long long>(a), static_cast<long long>(b));
  ++g_failures;
}

}  // namespace fslcore
