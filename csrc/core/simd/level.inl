// SPDX-License-Identifier: MIT
// The kernels of all families for one instruction set, by the vector vocabulary that the including file has
// chosen. Each body includes the bodies that it builds on.
#pragma once

namespace {

#include "core/simd/convolution_kernels.inl"
#include "core/simd/fitting_kernels.inl"
#include "core/simd/image_kernels.inl"
#include "core/simd/limit_kernels.inl"
#include "core/simd/manhattan_grad_kernels.inl"
#include "core/simd/manhattan_kernels.inl"
#include "core/simd/norms_kernels.inl"
#include "core/simd/pairwise_kernels.inl"
#include "core/simd/patch_kernels.inl"
#include "core/simd/product_grad_kernels.inl"
#include "core/simd/reduction_kernels.inl"
#include "core/simd/row_kernels.inl"
#include "core/simd/search_kernels.inl"
#include "core/simd/triplet_kernels.inl"

constexpr Kernels AllKernels() {
  Kernels all = {};
  all.rows = MakeRowKernels();
  all.pairwise = MakePairwiseKernels();
  all.product_grad = MakeProductGradKernels();
  all.manhattan = MakeManhattanKernels();
  all.norms = MakeNormsKernels();
  all.search = MakeSearchKernels();
  all.reductions = MakeReductionKernels();
  all.triplets = MakeTripletKernels();
  all.convolution = MakeConvolutionKernels();
  all.patches = MakePatchKernels();
  all.fitting = MakeFittingKernels();
  all.images = MakeImageKernels();
  all.limits = MakeLimitKernels();
  return all;
}

}  // namespace

const Kernels kKernels = AllKernels();
