// SPDX-License-Identifier: MIT
#include "core/gram.h"

#include <cmath>
#include <utility>
#include <vector>

#include "core/simd/kernels.h"

namespace fslcore {
namespace {

// Rows per parallel block: 96 rows of 512 floats stay in a 256 KB share of the L2 cache. A function of the
// shape alone, and small enough that a few hundred rows still feed several threads.
int64_t BlockRows(int64_t rows) { return std::clamp<int64_t>((rows + 7) / 8, 6, 96); }

int64_t RoundUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

bool UsesNorms(Metric metric) { return metric == Metric::kSqeuclidean || metric == Metric::kEuclidean; }

std::string Shape(Matrix<const float> x) {
  return "[" + std::to_string(x.rows) + ", " + std::to_string(x.cols) + "]";
}

void SquaredNorms(const Executor& executor, Matrix<const float> x, float* norms) {
  ParallelFor(executor, x.rows, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) norms[i] = Simd().dot(x.row(i), x.row(i), x.cols);
  });
}

// Which way the coefficients d loss / d (sum inside the metric) are read: by rows of x or, for the gradient
// with respect to y, by columns.
struct Coefficients {
  const PairwiseKernel& kernel;
  const float* grad;
  const float* out;
  int64_t cols;  // of grad and out
  bool by_columns;

  // Fills values so that a(r, k) = values[r * row_step + k * k_step] belongs to row begin + r of the side
  // that is differentiated and row k of the other; sums[r] = sum over k of a(r, k).
  void Fill(int64_t begin, int64_t rows, int64_t depth, float* values, float* sums) const {
    const SimdKernels& simd = Simd();
    if (!by_columns) {
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t at = (begin + r) * cols;
        sums[r] = simd.coefficients(kernel.metric, kernel.activation, grad + at, out + at, depth,
                                    values + r * depth);
      }
      return;
    }
    std::fill(sums, sums + rows, 0.0f);
    for (int64_t k = 0; k < depth; ++k) {
      const int64_t at = k * cols + begin;
      simd.coefficients(kernel.metric, kernel.activation, grad + at, out + at, rows, values + k * rows);
      simd.axpy(1.0f, values + k * rows, sums, rows);
    }
  }
};

// The gradient with respect to the rows of x, where `y` is the other side: each block of rows is one
// thread's, summed in one order, so nothing is added across threads.
void GradientOfRows(const Executor& executor, const Coefficients& coefficients, Matrix<const float> x,
                    Matrix<const float> y, float* dx, float* dweights, float* dbias) {
  const SimdKernels& simd = Simd();
  const PairwiseKernel& kernel = coefficients.kernel;
  const int64_t dim = x.cols, depth = y.rows, block = std::min<int64_t>(24, BlockRows(x.rows));
  const int64_t panels = (dim + simd.panel - 1) / simd.panel;

  Scratch<float> packed(panels * simd.panel * depth);
  ParallelFor(executor, panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      simd.pack_columns(y.data, depth, dim, p * simd.panel, packed.get() + p * simd.panel * depth);
  });

  const int64_t blocks = (x.rows + block - 1) / block;
  std::vector<float> block_dweights(static_cast<size_t>(dweights ? blocks * dim : 0));
  std::vector<double> block_dbias(static_cast<size_t>(blocks));
  ParallelFor(executor, x.rows, block, [&](int64_t begin, int64_t end) {
    const int64_t rows = end - begin, index = begin / block;
    Scratch<float> values(rows * depth), sums(rows);
    coefficients.Fill(begin, rows, depth, values.get(), sums.get());
    const int64_t a_row = coefficients.by_columns ? 1 : depth, a_k = coefficients.by_columns ? rows : 1;
    float* out = dx + begin * dim;
    if (IsProductMetric(kernel.metric)) {
      simd.product({rows, depth, dim, values.get(), a_row, a_k, packed.get(), out});
      if (UsesNorms(kernel.metric))  // sum_k a (x - y_k) = x * sum_k a - sum_k a y_k
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t d = 0; d < dim; ++d)
            out[r * dim + d] = sums[r] * x.row(begin + r)[d] - out[r * dim + d];
    } else {
      simd.signs({rows, depth, dim, values.get(), a_row, a_k, x.row(begin), packed.get(),
                  kernel.metric == Metric::kWeightedManhattan ? kernel.weights.data : nullptr, out,
                  dweights ? block_dweights.data() + index * dim : nullptr});
    }
    for (int64_t r = 0; r < rows; ++r) block_dbias[static_cast<size_t>(index)] += sums[r];
  });

  if (dweights) {
    FlushDenormals flush;
    std::fill(dweights, dweights + dim, 0.0f);
    for (int64_t b = 0; b < blocks; ++b) simd.axpy(1.0f, block_dweights.data() + b * dim, dweights, dim);
  }
  if (dbias) {
    double total = 0.0;
    for (double part : block_dbias) total += part;
    *dbias = static_cast<float>(total);
  }
}

}  // namespace

std::string CheckPairwise(const PairwiseKernel& kernel, Matrix<const float> x, Matrix<const float> y) {
  if (x.cols != y.cols)
    return "x and y must have the same number of columns, received x: " + Shape(x) + ", y: " + Shape(y);
  const bool weighted = kernel.metric == Metric::kWeightedManhattan;
  if (weighted && kernel.weights.size != x.cols)
    return "weights must hold one number per column of x (" + std::to_string(x.cols) +
           ") for weighted_manhattan, received " + std::to_string(kernel.weights.size);
  if (!weighted && (kernel.weights.size != 0 || kernel.activation != Activation::kNone))
    return "weights and activation belong to the metric weighted_manhattan, received metric: " +
           std::string(kMetricNames[static_cast<size_t>(kernel.metric)]);
  return "";
}

std::string CheckPairwiseGrad(const PairwiseKernel& kernel, Matrix<const float> x, Matrix<const float> y,
                              Matrix<const float> grad, Matrix<const float> out) {
  const std::string problem = CheckPairwise(kernel, x, y);
  if (!problem.empty()) return problem;
  for (const auto& [name, given] : {std::pair{"grad", grad}, std::pair{"out", out}})
    if (given.rows != x.rows || given.cols != y.rows)
      return std::string(name) + " must be " + Shape({nullptr, x.rows, y.rows}) +
             ", one number per pair of rows, received " + Shape(given);
  return "";
}

void NormaliseRows(const Executor& executor, Matrix<const float> x, float* unit, float* norms) {
  ParallelFor(executor, x.rows, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      // Scaled by the largest entry first, so that neither tiny nor huge rows under- or overflow when
      // squared.
      float largest = 0.0f;
      for (int64_t d = 0; d < x.cols; ++d) largest = std::max(largest, std::fabs(x.row(i)[d]));
      const float scale = largest > 0.0f ? 1.0f / largest : 1.0f;
      float* u = unit + i * x.cols;
      for (int64_t d = 0; d < x.cols; ++d) u[d] = x.row(i)[d] * scale;
      const float length = std::sqrt(Simd().dot(u, u, x.cols));
      for (int64_t d = 0; d < x.cols; ++d) u[d] = length == 0.0f ? u[d] : u[d] / length;
      if (norms) norms[i] = length / scale;
    }
  });
}

void ProjectRows(const Executor& executor, Matrix<const float> unit, const float* norms, float* gradient) {
  ParallelFor(executor, unit.rows, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* u = unit.row(i);
      float* g = gradient + i * unit.cols;
      const float along = Simd().dot(u, g, unit.cols);
      for (int64_t d = 0; d < unit.cols; ++d)
        g[d] = norms[i] == 0.0f ? 0.0f : (g[d] - u[d] * along) / norms[i];
    }
  });
}

GramRows::GramRows(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
                   Matrix<const float> y)
    : kernel_(kernel),
      x_(x),
      y_(y),
      unit_x_(kernel.metric == Metric::kCosine ? x.rows * x.cols : 0),
      unit_y_(kernel.metric == Metric::kCosine ? y.rows * y.cols : 0),
      x_norms_(UsesNorms(kernel.metric) ? x.rows : 0),
      y_norms_(UsesNorms(kernel.metric) ? RoundUp(y.rows, Simd().panel) : 0),
      panels_(RoundUp(y.rows, Simd().panel) * y.cols) {
  const SimdKernels& simd = Simd();
  if (kernel.metric == Metric::kCosine) {
    NormaliseRows(executor, x, unit_x_.get(), nullptr);
    NormaliseRows(executor, y, unit_y_.get(), nullptr);
    x_.data = unit_x_.get();
    y_.data = unit_y_.get();
  }
  if (UsesNorms(kernel.metric)) {
    SquaredNorms(executor, x_, x_norms_.get());
    SquaredNorms(executor, y_, y_norms_.get());
    std::fill(y_norms_.get() + y.rows, y_norms_.get() + RoundUp(y.rows, simd.panel), 0.0f);
  }
  ParallelFor(executor, RoundUp(y.rows, simd.panel) / simd.panel, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      simd.pack_rows(y_.data, y.rows, y.cols, p * simd.panel, panels_.get() + p * simd.panel * y.cols);
  });
}

void GramRows::Compute(int64_t begin, int64_t end, float* out, int64_t stride) const {
  Simd().gram({kernel_.metric, kernel_.activation, end - begin, y_.rows, x_.cols, x_.row(begin), y_.data,
               panels_.get(), x_norms_.get() + begin, y_norms_.get(), kernel_.weights.data, kernel_.bias, out,
               stride});
}

void Pairwise(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
              Matrix<const float> y, float* out) {
  const GramRows gram(executor, kernel, x, y);
  ParallelFor(executor, x.rows, BlockRows(x.rows),
              [&](int64_t begin, int64_t end) { gram.Compute(begin, end, out + begin * y.rows, y.rows); });
}

void PairwiseGrad(const Executor& executor, const PairwiseKernel& kernel, Matrix<const float> x,
                  Matrix<const float> y, const float* grad, const float* out,
                  const PairwiseGradients& gradients) {
  const bool cosine = kernel.metric == Metric::kCosine;
  Scratch<float> unit_x(cosine ? x.rows * x.cols : 0), unit_y(cosine ? y.rows * y.cols : 0);
  Scratch<float> x_norms(cosine ? x.rows : 0), y_norms(cosine ? y.rows : 0);
  if (cosine) {
    NormaliseRows(executor, x, unit_x.get(), x_norms.get());
    NormaliseRows(executor, y, unit_y.get(), y_norms.get());
    x.data = unit_x.get();
    y.data = unit_y.get();
  }
  GradientOfRows(executor, {kernel, grad, out, y.rows, false}, x, y, gradients.dx, gradients.dweights,
                 gradients.dbias);
  GradientOfRows(executor, {kernel, grad, out, y.rows, true}, y, x, gradients.dy, nullptr, nullptr);
  if (cosine) {
    ProjectRows(executor, x, x_norms.get(), gradients.dx);
    ProjectRows(executor, y, y_norms.get(), gradients.dy);
  }
}

}  // namespace fslcore
