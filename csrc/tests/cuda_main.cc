// SPDX-License-Identifier: MIT
// The checks of the CUDA kernels on the CPU, in each order in which its stand-in for a GPU can let threads
// run. On a GPU the program of csrc/bench runs them.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

#include "tests/check.h"
#include "tests/cuda_tests.h"

namespace fslcore {
namespace {

void Run(cuda_on_cpu::Schedule schedule, const char* name) {
  cuda_on_cpu::schedule = schedule;
  const int before = g_failures;
  for (const CudaTest& test : kCudaTests) test.run();
  std::printf("CUDA kernels on the CPU, threads %s: %s\n", name, g_failures > before ? "FAILED" : "passed");
}

}  // namespace
}  // namespace fslcore

int main() {
  using cuda_on_cpu::Schedule;
  fslcore::Run(Schedule::kForwards, "forwards");
  fslcore::Run(Schedule::kBackwards, "backwards");
  fslcore::Run(Schedule::kShuffled, "shuffled");
  return fslcore::g_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
