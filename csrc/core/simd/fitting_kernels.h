// SPDX-License-Identifier: MIT
// Kernels of optimisers. Elementwise; tensors may be empty.
#pragma once
#include "core/fitting/adam.h"

namespace fslcore::simd {

struct FittingKernels {
  // The squares, and the weights by them; the learning rate is that of this step (core/fitting/adam_step.h).
  void (*adam)(const AdamSettings&, const AdamTensor&);
};

const FittingKernels& Fitting();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
