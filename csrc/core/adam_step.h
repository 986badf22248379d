// SPDX-License-Identifier: MIT
// One step of Adam without momentum (Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015,
// algorithm 1 with beta_1 = 0) for all tensors of a network, float32, elementwise:
//
//   power'   = power * beta_2                                        beta_2 to the power of the steps
//   squares' = beta_2 * squares + (1 - beta_2) * gradients^2
//   weights' = weights - learning_rate * sqrt(1 - power') * gradients / (sqrt(squares') + epsilon)
//
// Each operation rounds once, so the bits do not depend on the instruction set. Elements are independent of
// one another: a NaN stays where it is. Tensors may be empty.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/sizes.h"

namespace fslcore {

struct AdamSettings {
  float learning_rate, beta_2;
  float one_minus_beta_2;  // rounded by itself: from a rounded beta_2 near 1 it would keep few digits
  float epsilon;
};

// Each output may be one of the inputs itself.
struct AdamTensor {
  int64_t size;
  const float *weights, *gradients, *squares;
  float *new_weights, *new_squares;
};

// The sentence that says what is wrong with the shapes of all weights, then of as many gradients, of as many
// squares, and of the power; or nothing.
std::string CheckAdamStep(const std::vector<Sizes>& shapes);

// Returns the new power.
float AdamStep(AdamSettings settings, const std::vector<AdamTensor>& tensors, float power);

}  // namespace fslcore
