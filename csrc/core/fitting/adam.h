// SPDX-License-Identifier: MIT
// The arguments of a step of Adam without momentum (adam_step.h has the formula).
#pragma once
#include <cstdint>

namespace fslcore {

struct AdamSettings {
  float learning_rate, beta_2;
  float
      one_minus_beta_2;  // rounded from the exact 1 - beta_2: 1 minus a rounded beta_2 near 1 has few digits
  float epsilon;
};

// Each output may be one of the inputs itself.
struct AdamTensor {
  int64_t size;
  const float *weights, *gradients, *squares;
  float *new_weights, *new_squares;
};

}  // namespace fslcore
