// SPDX-License-Identifier: MIT
// The symbols of the XLA FFI handlers, one per op and platform: fslcore_pairwise_cpu for "Host",
// fslcore_pairwise_cuda for "CUDA". They need no TensorFlow symbol, so any front end of XLA can register
// them.
#pragma once
#include "bindings/ops.h"
#include "xla/ffi/api/c_api.h"

#define FSLCORE_DECLARE(function, platform)                                                         \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* fslcore_##function##_##platform( \
      XLA_FFI_CallFrame*);

#define FSLCORE_DECLARE_CPU(Op, function) FSLCORE_DECLARE(function, cpu)
FSLCORE_XLA_OPS(FSLCORE_DECLARE_CPU)
#undef FSLCORE_DECLARE_CPU

// Only where the library is built with CUDA.
#define FSLCORE_DECLARE_CUDA(Op, function) FSLCORE_DECLARE(function, cuda)
FSLCORE_GPU_OPS(FSLCORE_DECLARE_CUDA)
#undef FSLCORE_DECLARE_CUDA
#undef FSLCORE_DECLARE
