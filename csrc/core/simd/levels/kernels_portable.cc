// SPDX-License-Identifier: MIT
#include "core/simd/kernels.h"
#include "core/simd/vec_portable.h"

namespace fslcore::portable {
namespace {
#include "core/simd/rows_body.inl"
// mining_body.inl builds on the row functions.
#include "core/simd/mining_body.inl"
// gram_body.inl builds on the row functions.
#include "core/simd/gram_body.inl"
// gram_grad_body.inl builds on the tiles of gram_body.inl.
#include "core/simd/gram_grad_body.inl"
// conv_body.inl builds on the tiles of gram_body.inl.
#include "core/simd/conv_body.inl"
#include "core/simd/limits_body.inl"
}  // namespace
#include "core/simd/table.inl"
}  // namespace fslcore::portable
