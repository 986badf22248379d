// SPDX-License-Identifier: MIT
#include "core/fitting/adam_step.h"

#include <cmath>

#include "core/simd/fitting_kernels.h"
#include "core/threads/cpu_state.h"

namespace fslcore {

std::string CheckAdamStep(const std::vector<Sizes>& shapes) {
  const size_t count = shapes.size() / 3;
  if (count == 0 || shapes.size() != 3 * count + 1)
    return "a step of Adam takes at least one of the weights, as many gradients and squares, and the power, "
           "received " +
           std::to_string(shapes.size()) + " tensors";
  for (size_t i = 0; i < count; ++i) {
    const std::string number = "[" + std::to_string(i) + "]";
    std::string problem = CheckSizes("gradients" + number, shapes[count + i], shapes[i]);
    if (problem.empty()) problem = CheckSizes("squares" + number, shapes[2 * count + i], shapes[i]);
    if (!problem.empty()) return problem;
  }
  return CheckSizes("power", shapes.back(), {});
}

float AdamStep(AdamSettings settings, const std::vector<AdamTensor>& tensors, float power) {
  FlushDenormals flush;
  power *= settings.beta_2;
  settings.learning_rate *= std::sqrt(1.0f - power);
  for (const AdamTensor& tensor : tensors) simd::Fitting().adam(settings, tensor);
  return power;
}

}  // namespace fslcore
