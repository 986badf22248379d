// SPDX-License-Identifier: MIT
// What a step of Adam without momentum is made of (adam_step.h has the formula).
#pragma once
#include <cstdint>

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

}  // namespace fslcore
