// SPDX-License-Identifier: MIT
// Networks on norms: the values of plain loops, within the memory that they may touch, with any number of
// threads.
#include "core/norms/norms.h"

#include <gtest/gtest.h>

#include "tests/norms_problem.h"

namespace fslcore {
namespace {

std::vector<float> Values(Guarded& guarded) {
  EXPECT_TRUE(guarded.intact());
  return {guarded.get(), guarded.get() + guarded.size()};
}

std::vector<std::vector<float>> Solved(const NormsProblem& problem, const Executor& executor) {
  const NormNetwork network = problem.network();
  const bool scaled = !problem.x_scales.empty() || !problem.y_scales.empty();
  const NormRows x = {{problem.x.data(), problem.rows, problem.dim},
                      scaled ? problem.x_scales.data() : nullptr};
  const NormRows y = {{problem.y.data(), problem.cols, problem.dim},
                      scaled ? problem.y_scales.data() : nullptr};
  Guarded out(problem.rows * problem.cols);
  PairwiseNorms(executor, network, x, y, out.get());
  std::vector<Guarded> by;
  for (int64_t size :
       {problem.rows * problem.dim, problem.cols * problem.dim, static_cast<int64_t>(problem.x_scales.size()),
        static_cast<int64_t>(problem.y_scales.size()), problem.filters * CountNorms(problem.norms),
        problem.filters, problem.filters, problem.dim, int64_t{1}})
    by.emplace_back(size);
  PairwiseNormsGrad(executor, network, x, y, problem.grad.data(), out.get(),
                    {by[0].get(), by[1].get(), scaled ? by[2].get() : nullptr, scaled ? by[3].get() : nullptr,
                     by[4].get(), by[5].get(), by[6].get(), by[7].get(), by[8].get()});
  std::vector<std::vector<float>> results = {Values(out)};
  for (Guarded& part : by) results.push_back(Values(part));
  return results;
}

TEST(Norms, AreThoseOfTheLoopsWithAnyNumberOfThreads) {
  for (const NormsProblem& problem : NormsProblems()) {
    SCOPED_TRACE(testing::Message() << problem.norms << " " << problem.rows << " " << problem.cols);
    NormsResults gradients;
    const NormsResults want = problem.Solve(&gradients);
    const auto got = Solved(problem, {});
    EXPECT_TRUE(AreClose(problem, got[0], want[0]));
    for (size_t i = 0; i < gradients.size(); ++i)
      EXPECT_TRUE(AreClose(problem, got[i + 1], gradients[i])) << i;
    EXPECT_EQ(Solved(problem, Threads(3)), got);
  }
}

}  // namespace
}  // namespace fslcore
