// SPDX-License-Identifier: MIT
// Steps of optimisers.
#pragma once

// Each operation rounds once, in the order of the formula: the bits are the same for all instruction sets.
void Adam(const AdamSettings& s, const AdamTensor& t) {
#pragma GCC ivdep  // where an output is an input, they are the same elements
  for (int64_t i = 0; i < t.size; ++i) {
    const float gradient = t.gradients[i];
    const float square = s.beta_2 * t.squares[i] + s.one_minus_beta_2 * (gradient * gradient);
    t.new_weights[i] = t.weights[i] - s.learning_rate * gradient / (__builtin_sqrtf(square) + s.epsilon);
    t.new_squares[i] = square;
  }
}

constexpr FittingKernels MakeFittingKernels() {
  FittingKernels k = {};
  k.adam = Adam;
  return k;
}
