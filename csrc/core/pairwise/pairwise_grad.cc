// SPDX-License-Identifier: MIT
#include "core/pairwise/difference_grad.h"
#include "core/pairwise/pairwise.h"
#include "core/pairwise/product_grad.h"

namespace fslcore {
namespace {

constexpr int64_t kSerialWork = 1 << 22;  // pairs of numbers below which threads cost more than they save

}  // namespace

void PairwiseGrad(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
                  Matrix<const float> y, const float* grad, const float* out,
                  const PairwiseGradients& gradients) {
  const Executor used = x.rows * y.rows * x.cols < kSerialWork ? Executor{} : executor;
  if (!IsProductMetric(kernel.metric)) return DifferenceGrad(used, kernel, x, y, grad, out, gradients);
  if (kernel.metric != Metric::kCosine) return ProductGrad(used, kernel.metric, x, y, grad, out, gradients);
  Scratch<float> unit_x(x.rows * x.cols), unit_y(y.rows * y.cols), x_norms(x.rows), y_norms(y.rows);
  NormaliseRows(used, x, unit_x.get(), x_norms.get());
  NormaliseRows(used, y, unit_y.get(), y_norms.get());
  x.data = unit_x.get();
  y.data = unit_y.get();
  ProductGrad(used, kernel.metric, x, y, grad, out, gradients);
  ProjectRows(used, x, x_norms.get(), gradients.dx);
  ProjectRows(used, y, y_norms.get(), gradients.dy);
}

}  // namespace fslcore
