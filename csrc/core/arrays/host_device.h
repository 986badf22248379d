// SPDX-License-Identifier: MIT
// Marks functions that the C++ core and CUDA kernels share.
#pragma once

#if defined(__CUDACC__)
#define FSLCORE_HOST_DEVICE __host__ __device__
#else
#define FSLCORE_HOST_DEVICE
#endif
