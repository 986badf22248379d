// SPDX-License-Identifier: MIT
// XLA FFI handlers of the kernels, one per op, for the platforms "Host" (_cpu) and "CUDA". They need no
// TensorFlow symbol, so any XLA front end can register them.
#pragma once
#include "xla/ffi/api/c_api.h"

#define FSLCORE_HANDLER(name) \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* name(XLA_FFI_CallFrame*)

FSLCORE_HANDLER(fslcore_pairwise_cpu);
FSLCORE_HANDLER(fslcore_pairwise_grad_cpu);
FSLCORE_HANDLER(fslcore_triplet_loss_cpu);
FSLCORE_HANDLER(fslcore_mine_triplets_cpu);
FSLCORE_HANDLER(fslcore_sample_episodes_cpu);
FSLCORE_HANDLER(fslcore_gather_images_cpu);
FSLCORE_HANDLER(fslcore_conv_block_cpu);
FSLCORE_HANDLER(fslcore_conv_block_grad_cpu);
FSLCORE_HANDLER(fslcore_adam_step_cpu);

// Only where the library is built with CUDA.
FSLCORE_HANDLER(fslcore_pairwise_cuda);
FSLCORE_HANDLER(fslcore_pairwise_grad_cuda);
FSLCORE_HANDLER(fslcore_triplet_loss_cuda);
FSLCORE_HANDLER(fslcore_mine_triplets_cuda);
FSLCORE_HANDLER(fslcore_sample_episodes_cuda);
FSLCORE_HANDLER(fslcore_gather_images_cuda);

#undef FSLCORE_HANDLER
