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
#include <string>
#include <vector>

#include "core/arrays/sizes.h"
#include "core/fitting/adam.h"

namespace fslcore {

// An error message, empty if all is well. The shapes are those of all weights, of as many gradients, of as
// many squares, and of the power.
std::string CheckAdamStep(const std::vector<Sizes>& shapes);

// Returns the new power.
float AdamStep(AdamSettings settings, const std::vector<AdamTensor>& tensors, float power);

}  // namespace fslcore
