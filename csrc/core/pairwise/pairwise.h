// SPDX-License-Identifier: MIT
// Pairwise (Gram) matrices and their gradients, float32. core/pairwise/metric.h has the metrics.
//
// The product metrics use |x|^2 + |y|^2 - 2<x, y>, and manhattan 2 sum max(x, y) - sum x - sum y; pairs for
// which that has cancelled more than seven bits are evaluated again coordinate by coordinate, so equal rows
// are at distance exactly 0 and near ones keep their digits. Relative error <= 256 * gamma(dim + 2), or 384 *
// for manhattan, gamma(k) = k eps / (1 - k eps). The gradient at distance 0 is 0. A NaN in a row makes that
// row (or column) of the output NaN. No rows or no columns is an empty output; dim = 0 gives the metric of
// two empty vectors. Nothing of size rows * cols * dim is ever formed. Results do not depend on the number of
// threads.
#pragma once
#include <string>

#include "core/arrays/scratch.h"
#include "core/arrays/sizes.h"
#include "core/arrays/views.h"
#include "core/pairwise/metric.h"
#include "core/simd/pairwise_kernels.h"
#include "core/threads/parallel.h"

namespace fslcore {

struct PairwiseKernel {
  Metric metric = Metric::kSqeuclidean;
  Activation activation = Activation::kNone;
  Vector<const float> weights = {nullptr, 0};  // [dim], weighted_manhattan only
  float bias = 0.0f;                           // weighted_manhattan only
};

// An error message if the arguments do not fit together, empty otherwise. `weights` are [0] for metrics
// without weights; `bias` is a scalar.
std::string CheckPairwise(Metric metric, Activation activation, const Sizes& x, const Sizes& y,
                          const Sizes& weights, const Sizes& bias);
std::string CheckPairwiseGrad(Metric metric, Activation activation, const Sizes& x, const Sizes& y,
                              const Sizes& weights, const Sizes& bias, const Sizes& grad, const Sizes& out);

// out [x.rows, y.rows].
void Pairwise(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
              Matrix<const float> y, float* out);

struct PairwiseGradients {
  float* dx;        // [x.rows, dim]
  float* dy;        // [y.rows, dim]
  float* dweights;  // [dim], or null
  float* dbias;     // scalar, or null
};

// `grad` is d loss / d out and `out` what Pairwise returned, both [x.rows, y.rows].
void PairwiseGrad(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
                  Matrix<const float> y, const float* grad, const float* out,
                  const PairwiseGradients& gradients);

// Parts of a pairwise matrix on demand, for callers that reduce them at once and never hold the whole matrix.
class PairwiseParts {
 public:
  // The views must outlive the object; x may be y.
  PairwiseParts(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
                Matrix<const float> y);

  // Rows of x, packed to meet columns.
  struct Rows {
    int64_t begin, end;
    Scratch<float> tiles, sums;
  };
  Rows PackRows(int64_t begin, int64_t end) const;

  // What is compared: for cosine the rows scaled to length 1.
  Matrix<const float> x() const { return x_; }
  Matrix<const float> y() const { return y_; }

  // out[r - rows.begin, c - first] for first <= c < last, row after row `stride` floats apart; `first` is a
  // multiple of the panel. A single panel may be finished where it was summed: out = rows.sums, stride = the
  // panel. With `stream` the output bypasses the caches, and the rows of out must be aligned to vectors.
  // PackRows and Compute may be called in parallel.
  void Compute(const Rows& rows, int64_t first, int64_t last, float* out, int64_t stride,
               bool stream = false) const;
  // The same for a kernel of the caller's that reduces the block at once: all but the output.
  simd::PairwiseBlock Block(const Rows& rows, int64_t first, int64_t last) const;

 private:
  PairwiseKernel kernel_;
  Matrix<const float> x_, y_;
  bool y_is_x_, max_by_fma_;
  Scratch<float> unit_x_, unit_y_;  // normalised copies (cosine)
  Scratch<float> x_scales_,
      y_scales_;  // the scales of PairwiseBlock, then the sums; x has its own unless y is x
  Scratch<float> panels_;
};

// Rows scaled to length 1 (zero rows stay zero); norms [x.rows] gets the lengths, if not null.
void NormaliseRows(const Executor& executor, Matrix<const float> x, float* unit, float* norms);

// Turns the gradient with respect to normalised rows into the gradient with respect to the rows themselves:
// dx = (du - u <u, du>) / |x|, and 0 for a zero row.
void ProjectRows(const Executor& executor, Matrix<const float> unit, const float* norms, float* gradient);

}  // namespace fslcore
