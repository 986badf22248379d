// SPDX-License-Identifier: MIT
#include "core/convolution/thin_block.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/convolution/batch_statistics.h"
#include "core/simd/patch_kernels.h"
#include "core/threads/cpu_state.h"

namespace fslcore {
namespace {

// Positions whose moments or products are summed in float at a time.
constexpr int64_t kPositionsPerSum = 128, kPositionsPerProduct = 784;

// Parts of the batch with sums in double of their own, at most.
constexpr int64_t kMostParts = 16;

// The patches of some rows of one image's maps: [rows * map_width, line]. Behind the pixels of a patch is a
// 1, and then zeros: sums of products with it are sums.
class Patches {
 public:
  explicit Patches(const ConvBlockShape& shape)
      : conv_(shape.conv),
        depth_(9 * conv_.channels),
        line_(RoundUp(depth_ + 1, 16)),
        rows_(RoundUp(std::max<int64_t>(1, kPositionsPerSum / conv_.map_width()), shape.pool)),
        padded_width_((conv_.map_width() - 1) * conv_.stride + 3),
        top_(std::max<int64_t>((conv_.map_height() - 1) * conv_.stride + 3 - conv_.height, 0) / 2),
        left_(std::max<int64_t>(padded_width_ - conv_.width, 0) / 2),
        padded_(((rows_ - 1) * conv_.stride + 3) * padded_width_ * conv_.channels),
        values_(rows_ * conv_.map_width() * line_) {
    std::fill(padded_.get(),
              padded_.get() + ((rows_ - 1) * conv_.stride + 3) * padded_width_ * conv_.channels, 0.0f);
    std::fill(values_.get(), values_.get() + rows_ * conv_.map_width() * line_, 0.0f);
    for (int64_t p = 0; p < rows_ * conv_.map_width(); ++p) values_[p * line_ + depth_] = 1.0f;
  }

  int64_t line() const { return line_; }
  int64_t rows() const { return rows_; }  // of the maps, that are made at a time
  const float* values() const { return values_.get(); }

  void Make(const float* image, int64_t first, int64_t rows) {
    switch (conv_.channels) {
      case 1:
        return MakeOf<1>(image, first, rows);
      case 2:
        return MakeOf<2>(image, first, rows);
      default:
        MakeOf<3>(image, first, rows);
    }
  }

 private:
  template <int kChannels>
  void MakeOf(const float* image, int64_t first, int64_t rows) {
    constexpr int64_t kRun = 3 * kChannels;
    const int64_t width = std::min(conv_.width, padded_width_ - left_) * kChannels;
    for (int64_t r = 0; r < (rows - 1) * conv_.stride + 3; ++r) {
      const int64_t from = first * conv_.stride + r - top_;
      float* to = padded_.get() + (r * padded_width_ + left_) * kChannels;
      if (from < 0 || from >= conv_.height)
        std::fill(to, to + width, 0.0f);
      else
        std::copy_n(image + from * conv_.width * kChannels, width, to);
    }
    float* out = values_.get();
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < conv_.map_width(); ++c, out += line_) {
        const float* in = padded_.get() + (r * padded_width_ + c) * conv_.stride * kChannels;
        for (int64_t i = 0; i < 3; ++i)
          std::memcpy(out + i * kRun, in + i * padded_width_ * kChannels, kRun * sizeof(float));
      }
  }

  const ConvShape& conv_;
  const int64_t depth_, line_, rows_, padded_width_, top_, left_;
  Scratch<float> padded_, values_;
};

// Calls body(image, first row of the maps, rows) with the patches of those rows, for all of some images.
template <class Body>
void ForEachStrip(const ConvShape& conv, const float* images, int64_t begin, int64_t end, Patches& patches,
                  const Body& body) {
  for (int64_t image = begin; image < end; ++image)
    for (int64_t row = 0; row < conv.map_height(); row += patches.rows()) {
      const int64_t rows = std::min(patches.rows(), conv.map_height() - row);
      patches.Make(images + image * conv.image_size(), row, rows);
      body(image, row, rows);
    }
}

// The windows of a strip.
simd::PoolWindows WindowsOf(const ConvBlockShape& shape, int64_t row, int64_t rows, int64_t line) {
  const int64_t covered = std::min(rows, shape.out_height() * shape.pool - row);
  return {shape.pool, covered / shape.pool, shape.out_width(), shape.conv.map_width() * line};
}

simd::PatchProduct ProductOf(const ConvShape& conv, const Patches& patches, const float* kernel) {
  return {9 * conv.channels, patches.line(), conv.filters, patches.values(), kernel};
}

// At most so many blocks of images, with whole groups of `positions` positions.
ImageBlocks PartsOf(const ConvShape& conv, int64_t positions) {
  const int64_t each = std::max<int64_t>(1, positions / conv.positions_each());
  return {conv.count, std::min(DivideUp(conv.count, each), kMostParts)};
}

void FindMoments(const Executor& executor, const ConvBlockShape& shape, const ConvBlockInputs& inputs,
                 const ConvBlockResults& results) {
  const ConvShape& conv = shape.conv;
  const int64_t filters = conv.filters;
  const ImageBlocks parts = PartsOf(conv, 1);
  std::vector<Moments> moments(static_cast<size_t>(parts.count), Moments(filters));
  parts.ForEach(executor, [&](int64_t part, int64_t begin, int64_t end) {
    Patches patches(shape);
    const int64_t line = patches.line();
    const Scratch<float> patch(line), patch_squares(line), mean(filters), squares(filters);
    ForEachStrip(conv, inputs.images, begin, end, patches, [&](int64_t image, int64_t row, int64_t rows) {
      simd::PatchProduct product = ProductOf(conv, patches, inputs.kernel);
      const int64_t positions = rows * conv.map_width();
      for (int64_t at = 0; at < positions; at += kPositionsPerSum) {
        const int64_t count = std::min(kPositionsPerSum, positions - at);
        const float* here = patches.values() + at * line;
        // The map of the mean patch is the mean of the maps, up to rounding.
        simd::Convolution().moments(here, count, line, patch.get(), patch_squares.get());
        product.patches = patch.get();
        simd::Patches().maps(product, 1, mean.get());
        product.patches = here;
        simd::Patches().squares(product, count, mean.get(), squares.get());
        moments[static_cast<size_t>(part)].Add(count, mean.get(), squares.get());
        if (results.maps)
          simd::Patches().maps(
              product, count,
              results.maps + ((image * conv.map_height() + row) * conv.map_width() + at) * filters);
      }
    });
  });
  FlushDenormals flush;
  Moments all(filters);
  for (const Moments& part : moments) all.Add(part.count, part.mean.data(), part.squares.data());
  all.Write(results.mean, results.variance);
}

// Sums over a part of the batch: of patch[k] d and of d by filters, and of patch[k] patch[l], with the sums
// of patch[k] in column `depth`.
struct GradSums {
  std::vector<double> products, sums, patches;
  GradSums(int64_t depth, int64_t line, int64_t filters)
      : products(static_cast<size_t>(depth * filters)),
        sums(static_cast<size_t>(filters)),
        patches(static_cast<size_t>(depth * line)) {}
};

template <class Number>
void AddTo(std::vector<double>& total, const Number* values) {
  for (size_t i = 0; i < total.size(); ++i) total[i] += static_cast<double>(values[i]);
}

void FindGradSums(const ConvBlockShape& shape, const ConvBlockInputs& inputs,
                  const simd::NormalisedRelu& relu, const float* grad, int64_t begin, int64_t end,
                  GradSums& total) {
  const ConvShape& conv = shape.conv;
  const int64_t filters = conv.filters, depth = 9 * conv.channels;
  Patches patches(shape);
  const int64_t line = patches.line(), size = (depth + 1) * filters + depth * line;
  const Scratch<float> part(size);
  float *products = part.get(), *sums = products + depth * filters, *of_patches = sums + filters;
  std::vector<simd::WindowPlace> places;
  for (int64_t p = 0; p < patches.rows() * conv.map_width(); ++p) places.push_back({p * line, p * line});
  const int64_t images_each = std::max<int64_t>(1, kPositionsPerProduct / conv.positions_each());
  for (int64_t first = begin; first < end; first += images_each) {
    std::fill(part.get(), part.get() + size, 0.0f);
    ForEachStrip(conv, inputs.images, first, std::min(first + images_each, end), patches,
                 [&](int64_t image, int64_t row, int64_t rows) {
                   simd::Convolution().window_grad({depth, line, places.data(), rows * conv.map_width(),
                                                    patches.values(), patches.values(), of_patches});
                   const simd::PoolWindows windows = WindowsOf(shape, row, rows, line);
                   if (windows.rows <= 0) return;
                   simd::Patches().pooled_relu_grad(
                       ProductOf(conv, patches, inputs.kernel), relu, windows,
                       grad + (image * shape.out_height() + row / shape.pool) * shape.out_width() * filters,
                       sums, products);
                 });
    AddTo(total.products, products);
    AddTo(total.sums, sums);
    AddTo(total.patches, of_patches);
  }
}

}  // namespace

void ThinBlock(const Executor& executor, const ConvBlockShape& shape, const ConvBlockInputs& inputs,
               const ConvBlockResults& results) {
  FindMoments(executor, shape, inputs, results);
  const ConvShape& conv = shape.conv;
  const Scales scales(inputs, results.variance, conv.filters);
  const simd::NormalisedRelu relu = {conv.filters, results.mean, scales.scale.get(), inputs.beta};
  PartsOf(conv, 1).ForEach(executor, [&](int64_t, int64_t begin, int64_t end) {
    Patches patches(shape);
    ForEachStrip(conv, inputs.images, begin, end, patches, [&](int64_t image, int64_t row, int64_t rows) {
      const simd::PoolWindows windows = WindowsOf(shape, row, rows, patches.line());
      if (windows.rows <= 0) return;
      simd::Patches().pooled_relu(ProductOf(conv, patches, inputs.kernel), relu, windows,
                                  results.outputs + (image * shape.out_height() + row / shape.pool) *
                                                        shape.out_width() * conv.filters);
    });
  });
}

void ThinBlockGrad(const Executor& executor, const ConvBlockShape& shape, const ConvBlockInputs& inputs,
                   const float* mean, const float* variance, const float* grad,
                   const ConvBlockGradients& gradients) {
  const ConvShape& conv = shape.conv;
  const int64_t filters = conv.filters, depth = 9 * conv.channels, line = RoundUp(depth + 1, 16);
  const Scales scales(inputs, variance, filters);
  const simd::NormalisedRelu relu = {filters, mean, scales.scale.get(), inputs.beta};
  const ImageBlocks parts = PartsOf(conv, 1);
  std::vector<GradSums> sums(static_cast<size_t>(parts.count), GradSums(depth, line, filters));
  parts.ForEach(executor, [&](int64_t part, int64_t begin, int64_t end) {
    FindGradSums(shape, inputs, relu, grad, begin, end, sums[static_cast<size_t>(part)]);
  });

  FlushDenormals flush;
  GradSums& all = sums[0];
  for (size_t part = 1; part < sums.size(); ++part) {
    AddTo(all.products, sums[part].products.data());
    AddTo(all.sums, sums[part].sums.data());
    AddTo(all.patches, sums[part].patches.data());
  }
  const double share = 1.0 / static_cast<double>(conv.positions());
  const auto at = [filters](int64_t k, int64_t c) { return static_cast<size_t>(k * filters + c); };
  for (int64_t c = 0; c < filters; ++c) {
    const double sum = all.sums[static_cast<size_t>(c)];
    double product = -mean[c] * sum;
    for (int64_t k = 0; k < depth; ++k) product += inputs.kernel[at(k, c)] * all.products[at(k, c)];
    gradients.beta[c] = static_cast<float>(sum);
    gradients.gamma[c] = static_cast<float>(product * scales.inverse[c]);
  }
  std::vector<double> of_maps(static_cast<size_t>(filters));  // sum patch[k] (x - mean)
  for (int64_t k = 0; k < depth; ++k) {
    const double* patch = all.patches.data() + k * line;
    for (int64_t c = 0; c < filters; ++c) of_maps[static_cast<size_t>(c)] = -mean[c] * patch[depth];
    for (int64_t l = 0; l < depth; ++l)
      for (int64_t c = 0; c < filters; ++c)
        of_maps[static_cast<size_t>(c)] += patch[l] * inputs.kernel[at(l, c)];
    for (int64_t c = 0; c < filters; ++c) {
      const double offset = gradients.beta[c] * share,
                   slope = static_cast<double>(gradients.gamma[c]) * scales.inverse[c] * share;
      gradients.kernel[at(k, c)] =
          static_cast<float>(scales.scale[c] * (all.products[at(k, c)] - offset * patch[depth] -
                                                slope * of_maps[static_cast<size_t>(c)]));
    }
  }
}

}  // namespace fslcore
