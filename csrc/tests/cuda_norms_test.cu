// SPDX-License-Identifier: MIT
// The networks on norms of csrc/cuda: the plain loops' values and gradients.
#include "cuda/norms/norms.h"
#include "tests/cuda_check.h"
#include "tests/cuda_checks.h"
#include "tests/device_memory.h"
#include "tests/norms_problem.h"

namespace fslcore {
namespace {

void TestProblem(const NormsProblem& problem) {
  const DeviceArray<float> x(problem.x), y(problem.y), x_scales(problem.x_scales), y_scales(problem.y_scales),
      hidden(problem.hidden), hidden_bias(problem.hidden_bias), mixing(problem.mixing),
      weights(problem.weights), grad(problem.grad), bias(std::vector<float>{problem.bias});
  const bool scaled = HasNorm(problem.norms, Norm::kUnitProduct);
  const NormNetwork network = {problem.norms,
                               problem.activation,
                               {hidden.get(), problem.filters, CountNorms(problem.norms)},
                               hidden_bias.get(),
                               mixing.get(),
                               {weights.get(), problem.dim},
                               0.0f};
  const NormRows rows = {{x.get(), problem.rows, problem.dim}, scaled ? x_scales.get() : nullptr};
  const NormRows cols = {{y.get(), problem.cols, problem.dim}, scaled ? y_scales.get() : nullptr};
  DeviceArray<char> workspace(cuda::PairwiseNormsWorkspace(network, rows, cols));
  DeviceArray<char> of_grad(cuda::PairwiseNormsGradWorkspace(network, rows, cols));
  DeviceArray<float> out(problem.rows * problem.cols);
  NormsResults gradients;
  const NormsResults want = problem.Solve(&gradients);
  const auto key = problem.norms * 1000 + problem.cols;
  Expect(cuda::PairwiseNorms(nullptr, network, bias.get(), rows, cols, workspace.get(), out.get()).empty(),
         "pairwise_norms says nothing", key, 0);
  Expect(AreClose(problem, out.values(), want[0]), "values of pairwise_norms", key, 0);

  const DeviceArray<float> dx(x.size()), dy(y.size()), dx_scales(x_scales.size()), dy_scales(y_scales.size()),
      dhidden(hidden.size()), dhidden_bias(hidden_bias.size()), dmixing(mixing.size()),
      dweights(weights.size()), dbias(int64_t{1});
  const DeviceArray<float>* by[] = {&dx,           &dy,      &dx_scales, &dy_scales, &dhidden,
                                    &dhidden_bias, &dmixing, &dweights,  &dbias};
  Expect(cuda::PairwiseNormsGrad(
             nullptr, network, rows, cols, grad.get(), out.get(), of_grad.get(),
             {dx.get(), dy.get(), scaled ? dx_scales.get() : nullptr, scaled ? dy_scales.get() : nullptr,
              dhidden.get(), dhidden_bias.get(), dmixing.get(), dweights.get(), dbias.get()})
             .empty(),
         "gradient of pairwise_norms says nothing", key, 0);
  for (size_t i = 0; i < gradients.size(); ++i) {
    Expect(AreClose(problem, by[i]->values(), gradients[i]), "gradient of pairwise_norms", key,
           static_cast<int64_t>(i));
    Expect(by[i]->intact(), "sentinels of the gradient", key, static_cast<int64_t>(i));
  }
  Expect(out.intact() && workspace.intact() && of_grad.intact(), "sentinels of pairwise_norms", key, 0);
}

}  // namespace

void CheckCudaNorms() {
  for (const NormsProblem& problem : NormsProblems()) TestProblem(problem);
}

}  // namespace fslcore
