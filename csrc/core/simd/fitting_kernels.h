// SPDX-License-Identifier: MIT
// Kernels of optimisers. Elementwise; tensors may be empty.
#pragma once
#include "core/fitting/adam.h"

namespace fslcore::simd {

struct FittingKernels {
  // New squares and weights of one step; core/fitting/adam_step.h has the formula, and computes the learning
  // rate of the step.
  void (*adam)(const AdamSettings&, const AdamTensor&);
};

const FittingKernels& Fitting();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
