// SPDX-License-Identifier: MIT
// The terms of pairs and their gradient of csrc/cuda: those of plain loops.
#include "cuda/reductions/pair_reduction.h"
#include "tests/cuda_check.h"
#include "tests/cuda_checks.h"
#include "tests/device_memory.h"
#include "tests/reductions_problem.h"

namespace fslcore {
namespace {

PairResults OnDevice(const PairCase& c) {
  const int64_t cells = kPairTerms * c.n;
  const DeviceArray<float> x(c.x), y(c.y), weights(c.weights), parameters(c.parameters), levels(c.levels),
      grad(c.grad);
  const DeviceArray<int64_t> x_labels(c.x_labels), y_labels(c.y_labels);
  PairProblem problem = c.Problem();
  problem.x.data = x.get(), problem.y.data = y.get();
  problem.x_labels = x_labels.get(), problem.y_labels = y_labels.get();
  problem.weights.data = weights.get();
  problem.parameters = parameters.get();
  if (c.has_levels) problem.levels = levels.get();
  DeviceArray<float> values(cells), counts(cells), dx(c.n * c.dim), dy(c.m * c.dim), dlevels(cells),
      sums(2 * cells);
  DeviceArray<int32_t> indices(cells);
  DeviceArray<char> workspace(cuda::ReducePairsWorkspace(problem)),
      more(cuda::ReducePairsGradWorkspace(problem));
  const std::string of_values =
      cuda::ReducePairs(nullptr, problem, workspace.get(), {values.get(), indices.get(), counts.get()});
  const std::string of_grad =
      cuda::ReducePairsGrad(nullptr, problem, more.get(), values.get(), grad.get(),
                            {dx.get(), dy.get(), c.has_levels ? dlevels.get() : nullptr, sums.get()});
  Expect(of_values.empty() && of_grad.empty(), "reductions say nothing", c.n, c.m);
  Expect(values.intact() && counts.intact() && indices.intact() && dx.intact() && dy.intact() &&
             dlevels.intact() && sums.intact() && workspace.intact() && more.intact(),
         "sentinels of reductions", c.n, c.m);
  return {values.values(),
          counts.values(),
          dx.values(),
          dy.values(),
          c.has_levels ? dlevels.values() : std::vector<float>(),
          sums.values(),
          indices.values()};
}

}  // namespace

void CheckCudaReductions() {
  int64_t number = 0;
  for (const PairCase& c : PairCases(/*for_core=*/false)) {
    const PairResults wanted = PlainPairs(c).Run(), got = OnDevice(c);
    Expect(got.counts == wanted.counts, "counts of pairs", number, c.n);
    Expect(got.indices == wanted.indices, "indices of pairs", number, c.n);
    Expect(AgreeAbout(got.values, wanted.values), "values of pairs", number, c.n);
    Expect(AgreeAbout(got.dx, wanted.dx), "dx of pairs", number, c.n);
    Expect(AgreeAbout(got.dy, wanted.dy), "dy of pairs", number, c.n);
    Expect(AgreeAbout(TotalsOf(got.sums), TotalsOf(wanted.sums)), "sums of pairs", number, c.n);
    if (c.has_levels) Expect(AgreeAbout(got.dlevels, wanted.dlevels), "dlevels of pairs", number, c.n);
    ++number;
  }
}

}  // namespace fslcore
