// SPDX-License-Identifier: MIT
// The gradient of the metrics that are made of |x - y|, as PairwiseGrad has it. With a(r, c) = d loss / d
// (the sum inside the metric) for the pair (x[r], y[c]):
//
//                        dx[r] = sum over c of ...                dy[c] = sum over r of ...
//   (weighted_)manhattan     a(r, c) w sign(x[r] - y[c])             a(r, c) w sign(y[c] - x[r])
//   chebyshev                the same in one coordinate, w = 1       the same in it
//
// and dweights = the sum over all pairs of a(r, c) |x[r] - y[c]|.
#pragma once
#include "core/pairwise/pairwise.h"

namespace fslcore {

void DifferenceGrad(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
                    Matrix<const float> y, const float* grad, const float* out,
                    const PairwiseGradients& gradients);

}  // namespace fslcore
