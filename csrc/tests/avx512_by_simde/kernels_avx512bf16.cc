// SPDX-License-Identifier: MIT
#include "core/simd/levels/kernels_avx512bf16.cc"
