// SPDX-License-Identifier: MIT
#include "core/adam_step.h"

#include <cmath>

#include "core/parallel.h"

namespace fslcore {

std::string CheckAdamStep(const std::vector<Sizes>& shapes) {
  const size_t count = shapes.size() / 3;
  for (size_t i = 0; i < count; ++i) {
    const std::string number = "[" + std::to_string(i) + "]";
    std::string problem = CheckSizes("gradients" + number, shapes[count + i], shapes[i]);
    if (problem.empty()) problem = CheckSizes("squares" + number, shapes[2 * count + i], shapes[i]);
    if (!problem.empty()) return problem;
  }
  return CheckSizes("power", shapes.back(), {});
}

// A plain loop for all instruction sets: it waits for the divider, which takes wide vectors piece by piece;
// AVX-512 would be a tenth faster.
float AdamStep(AdamSettings settings, const std::vector<AdamTensor>& tensors, float power) {
  FlushDenormals flush;
  power *= settings.beta_2;
  const float rate = settings.learning_rate * std::sqrt(1.0f - power);
  for (const AdamTensor& t : tensors) {
#pragma GCC ivdep  // an output that is an input is so element by element
    for (int64_t i = 0; i < t.size; ++i) {
      const float gradient = t.gradients[i];
      const float square = settings.beta_2 * t.squares[i] + settings.one_minus_beta_2 * (gradient * gradient);
      t.new_weights[i] = t.weights[i] - rate * gradient / (std::sqrt(square) + settings.epsilon);
      t.new_squares[i] = square;
    }
  }
  return power;
}

}  // namespace fslcore
