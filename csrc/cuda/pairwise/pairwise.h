// SPDX-License-Identifier: MIT
// core/pairwise/pairwise.h on a GPU: the same metrics, the same pairs evaluated again coordinate by
// coordinate, the same treatment of zeros and NaN. Every pointer is to memory of the device; nothing is
// allocated, nothing waited for.
//
// Sums are in float32 and in one fixed order: results do not change from run to run, and are the same for
// pairs and their mirror images where y is x (the same rows at the same address).
//
// Errors, with gamma(k) = k eps / (1 - k eps) and u half the last bit of an operand, 2^-11 for TF32 and 2^-8
// for bfloat16:
//   float32         as in core/pairwise/pairwise.h, but gamma(dim + 2) for manhattan, which is summed as it
//   is defined tf32, bfloat16  distances are those between the rounded rows, whose squares are taken of
//   rounded numbers
//                   too: relative to euclidean 16 u and to sqeuclidean and cosine 32 u more at the most,
//                   where the distance is an eleventh of the rows' lengths, and less for rows farther apart.
//                   dot: (2 u + u^2) |x| |y|
//   3xtf32          dot: 3 * 2^-22 |x| |y|; relative to sqeuclidean and cosine 384 * 2^-22 more at the most
// Pairs that are evaluated again are so in float32 whatever the precision is. An infinity in a row, or a
// number that rounds to one, may turn into NaN in the dot of 3xtf32. The products of a gradient, coefficients
// times rows, are formed in the same precision: it adds 4 u, or 4 * 2^-22, of the sum of |coefficient| (|x| +
// |y|).
#pragma once
#include <string>

#include "core/arrays/views.h"
#include "core/pairwise/metric.h"
#include "cuda/stream.h"

namespace fslcore::cuda {

struct PairwiseKernel {
  Metric metric = Metric::kSqeuclidean;
  Activation activation = Activation::kNone;
  Vector<const float> weights = {nullptr, 0};  // [dim], weighted_manhattan only
  const float* bias = nullptr;                 // scalar, weighted_manhattan only
  Precision precision = Precision::kFloat32;   // of the products, for the metrics made of them
};

struct PairwiseGradients {
  float* dx;        // [x.rows, dim]
  float* dy;        // [y.rows, dim]
  float* dweights;  // [dim], or null
  float* dbias;     // scalar, or null
};

// Bytes that the functions below need at `workspace`.
int64_t PairwiseWorkspace(const PairwiseKernel& kernel, Matrix<const float> x, Matrix<const float> y);
int64_t PairwiseGradWorkspace(const PairwiseKernel& kernel, Matrix<const float> x, Matrix<const float> y);

// out [x.rows, y.rows]. These return an error message, or an empty string.
std::string Pairwise(Stream stream, const PairwiseKernel& kernel, Matrix<const float> x,
                     Matrix<const float> y, void* workspace, float* out);

// `grad` is d loss / d out and `out` what Pairwise returned, both [x.rows, y.rows].
std::string PairwiseGrad(Stream stream, const PairwiseKernel& kernel, Matrix<const float> x,
                         Matrix<const float> y, const float* grad, const float* out, void* workspace,
                         const PairwiseGradients& gradients);

}  // namespace fslcore::cuda
