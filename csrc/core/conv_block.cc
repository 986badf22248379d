// SPDX-License-Identifier: MIT
#include "core/conv_block.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "core/conv_windows.h"
#include "core/scratch.h"
#include "core/simd/kernels.h"

namespace fslcore {
namespace {

// Rows whose moments or gradient sums are taken at once: 128 rows of 64 floats stay in the L1 cache for the
// second pass, and float sums that short keep their digits.
constexpr int64_t kRowsPerSum = 128;

// Rows per parallel block of a pass over memory.
constexpr int64_t kRowsPerPass = 4 * kRowsPerSum;

// Images per block, so that it has at most `positions` of the output: blocks of nearly equal size.
int64_t BlockImages(const ConvShape& shape, int64_t positions) {
  const int64_t most = std::max<int64_t>(1, positions / std::max<int64_t>(1, shape.positions_each()));
  const int64_t blocks = std::max<int64_t>(1, DivideUp(shape.count, most));
  return std::max<int64_t>(1, DivideUp(shape.count, blocks));
}

// Per parallel block: enough that register tiles are full although borders are tiles of their own.
constexpr int64_t kPositionsPerBlock = 256;

// Calls body(first row, rows) from the last rows to the first: what the first pass has left in the cache is
// used before it is displaced.
template <class Body>
void SecondPass(const Executor& executor, int64_t rows, const Body& body) {
  ParallelFor(executor, rows, kRowsPerPass,
              [&](int64_t begin, int64_t end) { body(rows - end, end - begin); });
}

// Weights [depth, cols] as panels; those that are one whole panel already are used where they are.
class Panels {
 public:
  Panels(const Executor& executor, const float* weights, int64_t depth, int64_t cols)
      : scratch_(cols == Simd().panel ? 0 : Count(cols) * depth * Simd().panel),
        data_(cols == Simd().panel ? weights : scratch_.get()) {
    if (cols == Simd().panel) return;
    const int64_t panel = Simd().panel;
    ParallelFor(executor, Count(cols), 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p)
        Simd().pack_columns(weights, depth, cols, p * panel, scratch_.get() + p * panel * depth);
    });
  }
  const float* get() const { return data_; }
  static int64_t Count(int64_t cols) { return DivideUp(cols, Simd().panel); }

 private:
  Scratch<float> scratch_;
  const float* data_;
};

void ApplyWindows(const std::vector<WindowGroup>& groups, int64_t images, const float* in,
                  const float* panels, int64_t depth, int64_t cols, float* out) {
  for (const WindowGroup& group : groups)
    Simd().window({images * group.per_image, depth, cols, group.places.data(), group.runs.data(),
                   static_cast<int64_t>(group.runs.size()), in, panels, out});
}

void AddKernelGrad(const std::vector<WindowGroup>& groups, int64_t images, int64_t filters, const float* in,
                   const float* grad, float* out) {
  for (const WindowGroup& group : groups)
    // 96 rows of 64 floats stay in the L1 cache while all taps pass.
    for (int64_t first = 0, rows = images * group.per_image; first < rows; first += 96)
      for (const WindowRun& run : group.runs)
        Simd().window_grad({run.length, filters, group.places.data() + first,
                            std::min<int64_t>(96, rows - first), in + run.in, grad, out + run.row * filters});
}

// Mean and sum of squared deviations by columns, combined block by block in double (Chan, Golub and LeVeque,
// "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
struct Moments {
  int64_t count = 0;
  std::vector<double> mean, squares;

  explicit Moments(int64_t cols) : mean(static_cast<size_t>(cols)), squares(static_cast<size_t>(cols)) {}

  void Add(int64_t rows, const float* other_mean, const float* other_squares) {
    if (rows == 0) return;
    const double share = static_cast<double>(rows) / static_cast<double>(count + rows);
    for (size_t c = 0; c < mean.size(); ++c) {
      const double delta = other_mean[c] - mean[c];
      mean[c] += delta * share;
      squares[c] += other_squares[c] + delta * delta * share * static_cast<double>(count);
    }
    count += rows;
  }
};

// gamma / sqrt(variance + epsilon), and the root alone.
struct Scales {
  Scratch<float> scale, inverse;

  Scales(const ConvNorm& norm, const float* variance, int64_t filters) : scale(filters), inverse(filters) {
    for (int64_t c = 0; c < filters; ++c) {
      inverse[c] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(variance[c]) + norm.epsilon));
      scale[c] = norm.gamma[c] * inverse[c];
    }
  }
};

std::string CheckAxes(const char* name, const Sizes& received, size_t axes) {
  if (received.size() == axes) return "";
  return std::string(name) + " must have " + std::to_string(axes) + " axes, received shape " +
         ShapeText(received);
}

std::string CheckStride(int64_t stride) {
  if (stride == 1 || stride == 2) return "";
  return "strides must be 1 or 2, received strides=" + std::to_string(stride);
}

std::string CheckEpsilon(float epsilon) {
  if (epsilon > 0.0f && std::isfinite(epsilon)) return "";
  return "epsilon must be positive and finite, received epsilon=" + std::to_string(epsilon);
}

// The first sentence that says something.
std::string FirstOf(std::initializer_list<std::string> problems) {
  for (const std::string& problem : problems)
    if (!problem.empty()) return problem;
  return "";
}

Sizes OutputSizes(const Sizes& images, int64_t filters, int64_t stride) {
  const ConvShape shape = {images[0], images[1], images[2], images[3], filters, stride};
  return {shape.count, shape.out_height(), shape.out_width(), filters};
}

}  // namespace

std::string CheckConvBlock(const Sizes& images, const Sizes& kernel, const Sizes& gamma, const Sizes& beta,
                           int64_t stride, float epsilon) {
  const std::string problem = FirstOf({CheckAxes("images", images, 4), CheckAxes("kernel", kernel, 4),
                                       CheckStride(stride), CheckEpsilon(epsilon)});
  if (!problem.empty()) return problem;
  return FirstOf({CheckSizes("kernel", kernel, {3, 3, images[3], kernel[3]}),
                  CheckSizes("gamma", gamma, {kernel[3]}), CheckSizes("beta", beta, {kernel[3]})});
}

std::string CheckConvBlockNormGrad(const Sizes& grad, const Sizes& convolved, const Sizes& mean,
                                   const Sizes& variance, const Sizes& gamma, const Sizes& beta,
                                   float epsilon) {
  const std::string problem = FirstOf({CheckAxes("convolved", convolved, 4), CheckEpsilon(epsilon)});
  if (!problem.empty()) return problem;
  const Sizes filters = {convolved[3]};
  return FirstOf({CheckSizes("grad", grad, convolved), CheckSizes("mean", mean, filters),
                  CheckSizes("variance", variance, filters), CheckSizes("gamma", gamma, filters),
                  CheckSizes("beta", beta, filters)});
}

std::string CheckConvInputGrad(const Sizes& images, const Sizes& kernel, const Sizes& grad, int64_t stride) {
  const std::string problem =
      FirstOf({CheckAxes("images", images, 4), CheckAxes("kernel", kernel, 4), CheckStride(stride)});
  if (!problem.empty()) return problem;
  return FirstOf({CheckSizes("kernel", kernel, {3, 3, images[3], kernel[3]}),
                  CheckSizes("grad", grad, OutputSizes(images, kernel[3], stride))});
}

std::string CheckConvKernelGrad(const Sizes& images, const Sizes& grad, int64_t stride) {
  const std::string problem =
      FirstOf({CheckAxes("images", images, 4), CheckAxes("grad", grad, 4), CheckStride(stride)});
  return problem.empty() ? CheckSizes("grad", grad, OutputSizes(images, grad[3], stride)) : problem;
}

void ConvBlock(const Executor& executor, const ConvShape& shape, const float* images, const float* kernel,
               const ConvNorm& norm, const ConvBlockResults& results) {
  const SimdKernels& simd = Simd();
  const int64_t filters = shape.filters, depth = 9 * shape.channels;
  const int64_t block = BlockImages(shape, kPositionsPerBlock);
  const int64_t rows_each = shape.positions_each();  // of `convolved`, for one image
  const auto windows = ForwardWindows(shape, block);
  const Panels panels(executor, kernel, depth, filters);

  const int64_t sums_per_block = DivideUp(block * rows_each, kRowsPerSum);
  const int64_t blocks = DivideUp(shape.count, block);
  Scratch<float> means(blocks * sums_per_block * filters), squares(blocks * sums_per_block * filters);
  // Calls body(place of the sum, first row, rows) for the sums of one block of images.
  const auto for_each_sum = [&](int64_t begin, int64_t end, const auto& body) {
    const int64_t first = begin * rows_each, rows = (end - begin) * rows_each;
    for (int64_t s = 0; s * kRowsPerSum < rows; ++s)
      body((begin / block * sums_per_block + s) * filters, first + s * kRowsPerSum,
           std::min(kRowsPerSum, rows - s * kRowsPerSum));
  };
  ParallelFor(executor, shape.count, block, [&](int64_t begin, int64_t end) {
    ApplyWindows(windows, end - begin, images + begin * shape.image_size(), panels.get(), depth, filters,
                 results.convolved + begin * rows_each * filters);
    for_each_sum(begin, end, [&](int64_t at, int64_t row, int64_t rows) {
      simd.moments(results.convolved + row * filters, rows, filters, means.get() + at, squares.get() + at);
    });
  });

  FlushDenormals flush;
  Moments moments(filters);
  for (int64_t begin = 0; begin < shape.count; begin += block)
    for_each_sum(begin, std::min(begin + block, shape.count), [&](int64_t at, int64_t, int64_t rows) {
      moments.Add(rows, means.get() + at, squares.get() + at);
    });
  for (int64_t c = 0; c < filters; ++c) {
    const auto at = static_cast<size_t>(c);
    results.mean[c] = static_cast<float>(moments.mean[at]);
    results.variance[c] = static_cast<float>(moments.squares[at] / std::max<double>(1.0, shape.positions()));
  }
  const Scales scales(norm, results.variance, filters);
  const NormalisedRelu relu = {filters, results.mean, scales.scale.get(), norm.beta};
  SecondPass(executor, shape.positions(), [&](int64_t row, int64_t rows) {
    simd.normalised_relu(relu, results.convolved + row * filters, rows, results.outputs + row * filters);
  });
}

void ConvBlockNormGrad(const Executor& executor, int64_t positions, int64_t filters, const float* grad,
                       const float* convolved, const float* mean, const float* variance, const ConvNorm& norm,
                       const ConvNormGradients& gradients) {
  const SimdKernels& simd = Simd();
  FlushDenormals flush;
  const Scales scales(norm, variance, filters);
  const NormalisedRelu relu = {filters, mean, scales.scale.get(), norm.beta};

  const int64_t blocks = DivideUp(positions, kRowsPerSum);
  Scratch<float> sums(blocks * filters), products(blocks * filters);
  ParallelFor(executor, positions, kRowsPerPass, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row += kRowsPerSum) {
      const int64_t at = row / kRowsPerSum * filters;
      simd.normalised_relu_sums(relu, grad + row * filters, convolved + row * filters,
                                std::min(kRowsPerSum, end - row), sums.get() + at, products.get() + at);
    }
  });

  std::vector<double> sum(static_cast<size_t>(filters)), product(static_cast<size_t>(filters));
  for (int64_t b = 0; b < blocks; ++b)
    for (size_t c = 0; c < sum.size(); ++c) {
      sum[c] += sums[b * filters + static_cast<int64_t>(c)];
      product[c] += products[b * filters + static_cast<int64_t>(c)];
    }
  // d outputs / d convolved also moves the mean and the variance:
  // dx = scale * (d - sum(d) / n - (x - mean) * sum(d * (x - mean)) / (n * (variance + epsilon))).
  Scratch<float> offset(filters), slope(filters);
  const double share = 1.0 / std::max<double>(1.0, static_cast<double>(positions));
  for (int64_t c = 0; c < filters; ++c) {
    const auto at = static_cast<size_t>(c);
    const double inverse = scales.inverse[c];
    gradients.beta[c] = static_cast<float>(sum[at]);
    gradients.gamma[c] = static_cast<float>(product[at] * inverse);
    offset[c] = static_cast<float>(sum[at] * share);
    slope[c] = static_cast<float>(product[at] * inverse * inverse * share);
  }
  SecondPass(executor, positions, [&](int64_t row, int64_t rows) {
    simd.normalised_relu_grad(relu, grad + row * filters, convolved + row * filters, rows, offset.get(),
                              slope.get(), gradients.convolved + row * filters);
  });
}

void ConvInputGrad(const Executor& executor, const ConvShape& shape, const float* kernel, const float* grad,
                   float* images_grad) {
  const SimdKernels& simd = Simd();
  const int64_t channels = shape.channels, filters = shape.filters, depth = 9 * filters;
  const int64_t block = BlockImages(shape, kPositionsPerBlock);
  const auto windows = BackwardWindows(shape, block);
  Scratch<float> panels(Panels::Count(channels) * depth * simd.panel);
  ParallelFor(executor, Panels::Count(channels) * 9, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)  // panel by panel, tap by tap
      simd.pack_rows(kernel + i % 9 * channels * filters, channels, filters, i / 9 * simd.panel,
                     panels.get() + i * filters * simd.panel);
  });
  const int64_t grad_size = shape.positions_each() * filters;
  ParallelFor(executor, shape.count, block, [&](int64_t begin, int64_t end) {
    ApplyWindows(windows, end - begin, grad + begin * grad_size, panels.get(), depth, channels,
                 images_grad + begin * shape.image_size());
  });
}

void ConvKernelGrad(const Executor& executor, const ConvShape& shape, const float* images, const float* grad,
                    float* kernel_grad) {
  const SimdKernels& simd = Simd();
  const int64_t filters = shape.filters, depth = 9 * shape.channels, size = depth * filters;
  const int64_t grad_size = shape.positions_each() * filters;

  // Each part of the images has a gradient of its own, and they are added in order: at least 1,024 positions
  // a part, beside which adding them is nothing, and at most 16 parts.
  const int64_t parts = std::clamp<int64_t>(shape.positions() / 1024, 1, 16);
  const int64_t part_images = std::max<int64_t>(1, DivideUp(shape.count, parts));
  const int64_t block = std::min(part_images, BlockImages(shape, 512));
  const auto windows = ForwardWindows(shape, block);
  Scratch<float> later_parts((parts - 1) * size);
  const auto gradient_of = [&](int64_t part) {
    return part == 0 ? kernel_grad : later_parts.get() + (part - 1) * size;
  };
  ParallelFor(executor, parts, 1, [&](int64_t part, int64_t) {
    std::fill(gradient_of(part), gradient_of(part) + size, 0.0f);
    const int64_t end = std::min((part + 1) * part_images, shape.count);
    for (int64_t begin = part * part_images; begin < end; begin += block)
      AddKernelGrad(windows, std::min(block, end - begin), filters, images + begin * shape.image_size(),
                    grad + begin * grad_size, gradient_of(part));
  });
  ParallelFor(executor, parts > 1 ? depth : 0, 64, [&](int64_t begin, int64_t end) {
    for (int64_t part = 1; part < parts; ++part)
      simd.axpy(1.0f, gradient_of(part) + begin * filters, kernel_grad + begin * filters,
                (end - begin) * filters);
  });
}

}  // namespace fslcore
