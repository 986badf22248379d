// SPDX-License-Identifier: MIT
// The list of all ops: the one place where a new op is entered. OP(Struct, function) names the struct of
// bindings/ops and the function of Python; TensorFlow's op is FslcoreStruct, and the symbols of its handlers
// are fslcore_function_cpu and fslcore_function_cuda.
#pragma once
#include "bindings/ops/convolution.h"
#include "bindings/ops/episodes.h"
#include "bindings/ops/fitting.h"
#include "bindings/ops/images.h"
#include "bindings/ops/norms.h"
#include "bindings/ops/pairwise.h"
#include "bindings/ops/permutations.h"
#include "bindings/ops/reductions.h"
#include "bindings/ops/search.h"
#include "bindings/ops/triplets.h"
#include "bindings/ops/warp.h"

// With a kernel for GPUs.
#define FSLCORE_GPU_OPS(OP)                    \
  OP(Pairwise, pairwise)                       \
  OP(PairwiseGrad, pairwise_grad)              \
  OP(TripletLoss, triplet_loss)                \
  OP(MineTriplets, mine_triplets)              \
  OP(SampleEpisodes, sample_episodes)          \
  OP(GatherImages, gather_images)              \
  OP(GatherAffine, gather_affine)              \
  OP(AffineImages, affine_images)              \
  OP(AffineTransforms, affine_transforms)      \
  OP(Nearest, nearest)                         \
  OP(PairReductions, pair_reductions)          \
  OP(PairReductionsGrad, pair_reductions_grad) \
  OP(PairSums, pair_sums)                      \
  OP(PairwiseNorms, pairwise_norms)            \
  OP(PairwiseNormsGrad, pairwise_norms_grad)

#define FSLCORE_NUMPY_OPS(OP) \
  FSLCORE_GPU_OPS(OP)         \
  OP(Permutations, permutations)

#define FSLCORE_XLA_OPS(OP)                      \
  FSLCORE_NUMPY_OPS(OP)                          \
  OP(ConvBlock, conv_block)                      \
  OP(ConvBlockGrad, conv_block_grad)             \
  OP(SameConvolution, same_convolution)          \
  OP(SameConvolutionGrad, same_convolution_grad) \
  OP(AdamStep, adam_step)

#define FSLCORE_TENSORFLOW_OPS(OP) \
  FSLCORE_XLA_OPS(OP)              \
  OP(FitClassifiers, fit_classifiers)
