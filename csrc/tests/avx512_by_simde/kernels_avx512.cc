// SPDX-License-Identifier: MIT
#include "core/simd/levels/kernels_avx512.cc"
