// SPDX-License-Identifier: MIT
// A small network on every coordinate of every pair of rows, the heads LearntNorms and MixedNorms of
// keras-fsl:
//
//   out[r, c] = act(sum_d w_d sum_f v_f max(sum_k A[f, k] n_k(x[r, d], y[c, d]) + b_f, 0) + bias)
//
// with the norms n_k of core/norms/norm.h. A rectifier at 0 has slope 0, and so has |q - s| at 0. A NaN in a
// row makes that row (or column) of the output NaN, and what sums over it in the gradient. No rows or no
// columns is an empty output. Nothing of size rows * cols * dim is ever formed: the forward pass needs O(cols
// * dim) of scratch memory, the gradient O((rows + cols) * dim) kMostCopies times. Sums are in float32;
// results do not depend on the number of threads.
#pragma once
#include <string>

#include "core/arrays/sizes.h"
#include "core/arrays/views.h"
#include "core/norms/norm.h"
#include "core/pairwise/metric.h"
#include "core/threads/parallel.h"

namespace fslcore {

struct NormNetwork {
  int64_t norms;                // a mask of Norm
  Activation activation;        // act
  Matrix<const float> hidden;   // A [filters, norms]
  const float* hidden_bias;     // b [filters]
  const float* mixing;          // v [filters]
  Vector<const float> weights;  // w [dim]
  float bias;
};

// The rows, and their scales for unit_product, else null.
struct NormRows {
  Matrix<const float> rows;
  const float* scales;
};

// An error message if the sizes do not fit together, empty otherwise: those of x, y, x_scales, y_scales,
// hidden, hidden_bias, mixing, weights, bias; for the gradient also of grad and out.
std::string CheckPairwiseNorms(int64_t norms, const std::vector<Sizes>& in);
std::string CheckPairwiseNormsGrad(int64_t norms, const std::vector<Sizes>& in);

// out [x.rows, y.rows].
void PairwiseNorms(const Executor& executor, const NormNetwork& network, const NormRows& x, const NormRows& y,
                   float* out);

// With respect to each argument, in its shape.
struct NormsGradients {
  float *dx, *dy;
  float *dx_scales, *dy_scales;  // null without unit_product
  float *dhidden, *dhidden_bias, *dmixing, *dweights, *dbias;
};

// `grad` is d loss / d out and `out` what PairwiseNorms returned, both [x.rows, y.rows].
void PairwiseNormsGrad(const Executor& executor, const NormNetwork& network, const NormRows& x,
                       const NormRows& y, const float* grad, const float* out,
                       const NormsGradients& gradients);

}  // namespace fslcore
