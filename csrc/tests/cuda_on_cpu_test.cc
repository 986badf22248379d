// SPDX-License-Identifier: MIT
// The checks of the CUDA kernels on the CPU, in each order in which its stand-in for a GPU can let threads
// run. On a GPU the program of csrc/bench runs them.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "tests/cuda_check.h"
#include "tests/cuda_checks.h"

namespace fslcore {
namespace {

using cuda_on_cpu::Schedule;

class CudaOnCpu : public testing::TestWithParam<std::tuple<Schedule, CudaCheck>> {};

TEST_P(CudaOnCpu, Passes) {
  const auto& [schedule, check] = GetParam();
  cuda_on_cpu::schedule = schedule;
  const int before = g_failures;
  check.run();
  EXPECT_EQ(g_failures, before);
}

std::string NameOf(const testing::TestParamInfo<CudaOnCpu::ParamType>& info) {
  const auto& [schedule, check] = info.param;
  return std::string(check.name) + (schedule == Schedule::kForwards    ? "Forwards"
                                    : schedule == Schedule::kBackwards ? "Backwards"
                                                                       : "Shuffled");
}

INSTANTIATE_TEST_SUITE_P(All, CudaOnCpu,
                         testing::Combine(testing::Values(Schedule::kForwards, Schedule::kBackwards,
                                                          Schedule::kShuffled),
                                          testing::ValuesIn(kCudaChecks)),
                         NameOf);

}  // namespace
}  // namespace fslcore
