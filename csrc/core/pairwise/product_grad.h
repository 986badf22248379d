// SPDX-License-Identifier: MIT
// The gradient of the product metrics as two matrix products.
#pragma once
#include "core/pairwise/pairwise.h"

namespace fslcore {

// PairwiseGrad for dot, sqeuclidean, euclidean and, with normalised rows and the gradient with respect to
// those, cosine. With the slopes a(r, c) = d loss / d <x[r], y[c]>, up to the sign and a factor of two:
//
//                     dx[r] =                                  dy[c] =
//   dot, cosine       sum over c of a(r, c) y[c]               sum over r of a(r, c) x[r]
//   (sq)euclidean     x[r] sum of a(r, c) - the same           y[c] sum of a(r, c) - the same
//
// The incoming gradient is read once for each product and becomes slopes while it is packed. Blocks of rows
// of either gradient are shared by the threads; where there are few rows, parts of their sums are too. Both
// are a function of the shape alone.
void ProductGrad(const Executor& executor, Metric metric, Matrix<const float> x, Matrix<const float> y,
                 const float* grad, const float* out, const PairwiseGradients& gradients);

}  // namespace fslcore
