// SPDX-License-Identifier: MIT
#include "core/convolution/conv_block.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <optional>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/convolution/batch_statistics.h"
#include "core/convolution/thin_block.h"
#include "core/simd/convolution_kernels.h"

namespace fslcore {
namespace {

// Rows whose moments or gradient sums are taken at once: 128 rows of 64 floats stay in the L1 cache for the
// second pass, and float sums that short keep their digits.
constexpr int64_t kRowsPerSum = 128;

// Per parallel block: enough that register tiles are full although borders are tiles of their own.
constexpr int64_t kPositionsPerBlock = 14 * 14;

// The maps of some images: the kept ones or, if none are kept, maps that are computed again.
class Maps {
 public:
  Maps(const ConvShape& shape, const float* kept, const Convolution* convolution)
      : shape_(shape), kept_(kept), convolution_(convolution) {}

  // `scratch` has room for scratch_size(end - begin) floats.
  const float* operator()(int64_t begin, int64_t end, float* scratch) const {
    if (kept_) return kept_ + begin * shape_.maps_size();
    (*convolution_)(begin, end, scratch);
    return scratch;
  }
  int64_t scratch_size(int64_t images) const { return kept_ ? 0 : images * shape_.maps_size(); }

 private:
  const ConvShape& shape_;
  const float* kept_;
  const Convolution* convolution_;
};

// Pieces of the pooling windows of a block of images, from its first map and output on, in floats.
struct Strip {
  int64_t maps, outputs;
  simd::PoolWindows windows;
};

// With a pool of 1 all positions are one row of windows; with 2 a strip is a few rows of one image.
std::vector<Strip> Strips(const ConvBlockShape& shape, int64_t images) {
  std::vector<Strip> strips;
  const int64_t filters = shape.conv.filters;
  if (shape.pool == 1) {
    const int64_t positions = images * shape.conv.positions_each();
    for (int64_t at = 0; at < positions; at += kRowsPerSum)
      strips.push_back({at * filters, at * filters, {1, 1, std::min(kRowsPerSum, positions - at), 0}});
    return strips;
  }
  const int64_t width = shape.out_width(), map_row = shape.conv.map_width() * filters;
  if (width == 0) return strips;
  const int64_t rows_each = std::max<int64_t>(1, kRowsPerSum / width);
  for (int64_t image = 0; image < images; ++image)
    for (int64_t row = 0; row < shape.out_height(); row += rows_each)
      strips.push_back({image * shape.conv.maps_size() + row * shape.pool * map_row,
                        image * shape.outputs_size() + row * width * filters,
                        {shape.pool, std::min(rows_each, shape.out_height() - row), width, map_row}});
  return strips;
}

// Strips() of the blocks of images: a block has as many images as the largest one, or one less.
class BlockStrips {
 public:
  BlockStrips(const ConvBlockShape& shape, const ImageBlocks& blocks)
      : block_(blocks.most()),
        whole_(Strips(shape, block_)),
        less_(Strips(shape, std::max<int64_t>(0, block_ - 1))) {}
  const std::vector<Strip>& operator()(int64_t images) const { return images == block_ ? whole_ : less_; }
  int64_t most() const { return static_cast<int64_t>(whole_.size()); }

 private:
  int64_t block_;
  std::vector<Strip> whole_, less_;
};

// The positions of a block of images that no window of the pool covers, as rows of windows of one.
std::vector<Strip> UncoveredStrips(const ConvBlockShape& shape, int64_t images) {
  std::vector<Strip> strips;
  const int64_t filters = shape.conv.filters, width = shape.conv.map_width();
  for (int64_t image = 0; image < images && shape.pool > 1; ++image) {
    const int64_t maps = image * shape.conv.maps_size();
    if (shape.conv.map_height() % shape.pool)
      strips.push_back({maps + (shape.conv.map_height() - 1) * width * filters, 0, {1, 1, width, 0}});
    if (width % shape.pool)
      for (int64_t row = 0; row < shape.out_height() * shape.pool; ++row)
        strips.push_back({maps + (row * width + width - 1) * filters, 0, {1, 1, 1, 0}});
  }
  return strips;
}

// Writes mean and variance of the maps, which it makes on the way.
void FindMoments(const Executor& executor, const ConvShape& shape, const ImageBlocks& blocks,
                 const Convolution& convolution, const ConvBlockResults& results) {
  const int64_t filters = shape.filters, rows_each = shape.positions_each();
  const int64_t sums_each = DivideUp(blocks.most() * rows_each, kRowsPerSum);
  Scratch<float> means(blocks.count * sums_each * filters), squares(blocks.count * sums_each * filters);
  // Calls body(place of the sum, first row, rows) for the sums of one block of images.
  const auto for_each_sum = [&](int64_t block, const auto& body) {
    const int64_t rows = (blocks.begin(block + 1) - blocks.begin(block)) * rows_each;
    for (int64_t s = 0; s * kRowsPerSum < rows; ++s)
      body((block * sums_each + s) * filters, s * kRowsPerSum, std::min(kRowsPerSum, rows - s * kRowsPerSum));
  };
  blocks.ForEach(executor, [&](int64_t block, int64_t begin, int64_t end) {
    const Scratch<float> scratch(results.maps ? 0 : blocks.most() * shape.maps_size());
    float* maps = results.maps ? results.maps + begin * shape.maps_size() : scratch.get();
    convolution(begin, end, maps);
    for_each_sum(block, [&](int64_t at, int64_t row, int64_t rows) {
      simd::Convolution().moments(maps + row * filters, rows, filters, means.get() + at, squares.get() + at);
    });
  });

  FlushDenormals flush;
  Moments moments(filters);
  for (int64_t block = 0; block < blocks.count; ++block)
    for_each_sum(block, [&](int64_t at, int64_t, int64_t rows) {
      moments.Add(rows, means.get() + at, squares.get() + at);
    });
  moments.Write(results.mean, results.variance);
}

// Writes the gradients of gamma and beta.
void FindNormGrad(const Executor& executor, const ConvBlockShape& shape, const ImageBlocks& blocks,
                  const Maps& maps_of, const simd::NormalisedRelu& relu, const float* inverse,
                  const float* grad, const ConvBlockGradients& gradients) {
  const int64_t filters = shape.conv.filters;
  const BlockStrips strips(shape, blocks);
  std::vector<float> sums(static_cast<size_t>(blocks.count * strips.most() * filters));
  std::vector<float> products(sums.size());
  blocks.ForEach(executor, [&](int64_t block, int64_t begin, int64_t end) {
    const Scratch<float> scratch(maps_of.scratch_size(end - begin));
    const float* maps = maps_of(begin, end, scratch.get());
    int64_t at = block * strips.most() * filters;
    for (const Strip& strip : strips(end - begin)) {
      simd::Convolution().pooled_relu_sums(relu, strip.windows, maps + strip.maps,
                                           grad + begin * shape.outputs_size() + strip.outputs,
                                           sums.data() + at, products.data() + at);
      at += filters;
    }
  });

  FlushDenormals flush;
  std::vector<double> sum(static_cast<size_t>(filters)), product(sum.size());
  for (size_t at = 0; at < sums.size(); at += sum.size())
    for (size_t c = 0; c < sum.size(); ++c) {
      sum[c] += sums[at + c];
      product[c] += products[at + c];
    }
  for (int64_t c = 0; c < filters; ++c) {
    gradients.beta[c] = static_cast<float>(sum[static_cast<size_t>(c)]);
    gradients.gamma[c] = static_cast<float>(product[static_cast<size_t>(c)] * inverse[c]);
  }
}

std::string CheckOneOrTwo(const char* name, int64_t value) {
  if (value == 1 || value == 2) return "";
  return std::string(name) + " must be 1 or 2, received " + name + "=" + std::to_string(value);
}

// A subnormal epsilon is flushed to 0 on some threads and not on others.
std::string CheckEpsilon(float epsilon) {
  if (epsilon >= std::numeric_limits<float>::min() && std::isfinite(epsilon)) return "";
  return "epsilon must be positive and finite, received epsilon=" + std::to_string(epsilon);
}

std::string CheckConvPrecision(Precision precision) {
  for (Precision known : kConvPrecisions)
    if (precision == known) return "";
  return "precision must be one of float32, bfloat16, received " +
         std::string(kPrecisionNames[static_cast<size_t>(precision)]);
}

}  // namespace

ConvBlockShape ConvBlockShapeOf(const Sizes& images, const Sizes& kernel, const ConvBlockOptions& options) {
  return {{images[0], images[1], images[2], images[3], kernel[3], options.stride, options.precision},
          options.pool};
}

std::string CheckConvBlock(const Sizes& images, const Sizes& kernel, const Sizes& gamma, const Sizes& beta,
                           const ConvBlockOptions& options) {
  const std::string problem =
      FirstOf({CheckAxes("images", images, 4), CheckAxes("kernel", kernel, 4),
               CheckOneOrTwo("strides", options.stride), CheckOneOrTwo("pool_size", options.pool),
               CheckEpsilon(options.epsilon), CheckConvPrecision(options.precision)});
  if (!problem.empty()) return problem;
  // Images without pixels cost no memory, but each takes its turn.
  if (images[0] > kMostPositions)
    return "images must hold fewer than 2^31 images, received shape " + ShapeText(images);
  return FirstOf({CheckSizes("kernel", kernel, {3, 3, images[3], kernel[3]}),
                  CheckSizes("gamma", gamma, {kernel[3]}), CheckSizes("beta", beta, {kernel[3]})});
}

std::string CheckConvBlockGrad(const Sizes& grad, const Sizes& images, const Sizes& kernel,
                               const Sizes& gamma, const Sizes& beta, const Sizes& maps, const Sizes& mean,
                               const Sizes& variance, const ConvBlockOptions& options) {
  const std::string problem = CheckConvBlock(images, kernel, gamma, beta, options);
  if (!problem.empty()) return problem;
  const ConvBlockShape shape = ConvBlockShapeOf(images, kernel, options);
  const int64_t kept = KeepsMaps(shape.conv) ? images[0] : 0, filters = kernel[3];
  return FirstOf({CheckSizes("grad", grad, shape.output_sizes()),
                  CheckSizes("maps", maps, {kept, shape.conv.map_height(), shape.conv.map_width(), filters}),
                  CheckSizes("mean", mean, {filters}), CheckSizes("variance", variance, {filters})});
}

void ConvBlock(const Executor& executor, const ConvBlockShape& shape, const ConvBlockInputs& inputs,
               const ConvBlockResults& results) {
  if (IsThin(shape.conv)) return ThinBlock(executor, shape, inputs, results);
  const ImageBlocks blocks = BlocksOf(shape.conv, kPositionsPerBlock);
  const Convolution convolution(executor, shape.conv, inputs.images, inputs.kernel, blocks.most());
  FindMoments(executor, shape.conv, blocks, convolution, results);

  const Scales scales(inputs, results.variance, shape.conv.filters);
  const simd::NormalisedRelu relu = {shape.conv.filters, results.mean, scales.scale.get(), inputs.beta};
  const Maps maps_of(shape.conv, results.maps, &convolution);
  const BlockStrips strips(shape, blocks);
  const auto normalise = [&](int64_t, int64_t begin, int64_t end) {
    const Scratch<float> scratch(maps_of.scratch_size(end - begin));
    const float* maps = maps_of(begin, end, scratch.get());
    float* outputs = results.outputs + begin * shape.outputs_size();
    for (const Strip& strip : strips(end - begin))
      simd::Convolution().pooled_relu(relu, strip.windows, maps + strip.maps, outputs + strip.outputs);
  };
  // Backwards, what the first pass has left in the cache is used before it is displaced.
  blocks.ForEach(executor, normalise, Order::kBackward);
}

void ConvBlockGrad(const Executor& executor, const ConvBlockShape& shape, const ConvBlockInputs& inputs,
                   const ConvBlockSaved& saved, const float* grad, const ConvBlockGradients& gradients) {
  const ConvShape& conv = shape.conv;
  const int64_t filters = conv.filters;
  const bool thin = IsThin(conv);
  if (thin) ThinBlockGrad(executor, shape, inputs, saved.mean, saved.variance, grad, gradients);
  if (thin && !gradients.images) return;
  const ImageBlocks blocks = BlocksOf(conv, kPositionsPerBlock);
  std::optional<Convolution> convolution;
  if (!saved.maps) convolution.emplace(executor, conv, inputs.images, inputs.kernel, blocks.most());
  const Maps maps_of(conv, saved.maps, convolution ? &*convolution : nullptr);
  const Scales scales(inputs, saved.variance, filters);
  const simd::NormalisedRelu relu = {filters, saved.mean, scales.scale.get(), inputs.beta};
  if (!thin) FindNormGrad(executor, shape, blocks, maps_of, relu, scales.inverse.get(), grad, gradients);

  // d outputs / d maps also moves the mean and the variance: with d the gradient behind ReLU and pool,
  // scale * (d - sum(d) / n - (x - mean) * sum(d * (x - mean)) / (n * (variance + epsilon))).
  Scratch<float> offset(filters), slope(filters), zeros(conv.map_width() * filters);
  std::fill(zeros.get(), zeros.get() + conv.map_width() * filters, 0.0f);
  const double share = 1.0 / std::max<double>(1.0, static_cast<double>(conv.positions()));
  for (int64_t c = 0; c < filters; ++c) {
    offset[c] = static_cast<float>(gradients.beta[c] * share);
    slope[c] = static_cast<float>(static_cast<double>(gradients.gamma[c]) * scales.inverse[c] * share);
  }
  const auto maps_grad = [&](int64_t begin, int64_t end, float* scratch) {
    for (int64_t first = begin; first < end; first += blocks.most()) {  // the caller's blocks may be larger
      const int64_t last = std::min(first + blocks.most(), end);
      float* out = scratch + (first - begin) * conv.maps_size();
      const float* maps = maps_of(first, last, out);
      const auto write = [&](const Strip& strip, const float* d) {
        simd::Convolution().pooled_relu_grad(relu, strip.windows, maps + strip.maps, d, offset.get(),
                                             slope.get(), out + strip.maps);
      };
      for (const Strip& strip : Strips(shape, last - first))
        write(strip, grad + first * shape.outputs_size() + strip.outputs);
      for (const Strip& strip : UncoveredStrips(shape, last - first)) write(strip, zeros.get());
    }
    return static_cast<const float*>(scratch);
  };
  const Scratch<float> spare(thin ? 9 * conv.channels * filters : 0);
  ConvolutionGrad(executor, conv, inputs.images, inputs.kernel, maps_grad,
                  thin ? spare.get() : gradients.kernel, gradients.images);
}

}  // namespace fslcore
