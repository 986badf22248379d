// SPDX-License-Identifier: MIT
// The terms of pairs and their gradient of csrc/cuda: those of plain loops.
#include "cuda/reductions/pair_reduction.h"
#include "cuda/reductions/pair_sum.h"
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

SumResults SumsOnDevice(const SumCase& of) {
  const PairCase& c = of.pairs;
  const DeviceArray<float> x(c.x), y(c.y), weights(c.weights), parameters(c.parameters), levels(of.levels),
      factors(of.factors);
  const DeviceArray<int64_t> x_labels(c.x_labels), y_labels(c.y_labels);
  PairSumProblem problem = {c.Problem(), factors.get(), of.level_count, levels.get()};
  problem.pairs.x.data = x.get(), problem.pairs.y.data = y.get();
  problem.pairs.x_labels = x_labels.get(), problem.pairs.y_labels = y_labels.get();
  problem.pairs.weights.data = weights.get();
  problem.pairs.parameters = parameters.get();
  DeviceArray<float> total(1), counts(kPairTerms), slopes(of.level_count * c.n), dx(c.n * c.dim),
      dy(c.m * c.dim), dparameters(2 * kPairTerms);
  DeviceArray<char> workspace(cuda::SumPairsWorkspace(problem));
  const std::string said =
      cuda::SumPairs(nullptr, problem, workspace.get(),
                     {total.get(), counts.get(), slopes.get(), dx.get(), dy.get(), dparameters.get()});
  Expect(said.empty(), "sums of pairs say nothing", c.n, c.m);
  Expect(total.intact() && counts.intact() && slopes.intact() && dx.intact() && dy.intact() &&
             dparameters.intact() && workspace.intact(),
         "sentinels of sums of pairs", c.n, c.m);
  return {total.values(), counts.values(), slopes.values(), dx.values(), dy.values(), dparameters.values()};
}

}  // namespace

void CheckCudaReductions() {
  int64_t number = 0;
  for (const SumCase& c : SumCases(/*for_core=*/false)) {
    const SumResults wanted = c.Wanted(), got = SumsOnDevice(c);
    Expect(got.counts == wanted.counts, "counts of summed pairs", number, c.pairs.n);
    Expect(AgreeAbout(got.total, wanted.total), "total of pairs", number, c.pairs.n);
    Expect(AgreeAbout(got.slopes, wanted.slopes), "slopes of summed pairs", number, c.pairs.n);
    Expect(AgreeAbout(got.dx, wanted.dx), "dx of summed pairs", number, c.pairs.n);
    Expect(AgreeAbout(got.dy, wanted.dy), "dy of summed pairs", number, c.pairs.n);
    Expect(AgreeAbout(got.dparameters, wanted.dparameters), "dparameters", number, c.pairs.n);
    ++number;
  }
  number = 0;
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
