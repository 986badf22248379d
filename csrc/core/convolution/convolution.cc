// SPDX-License-Identifier: MIT
#include "core/convolution/convolution.h"

#include <algorithm>

#include "core/convolution/conv_windows.h"
#include "core/simd/convolution_kernels.h"
#include "core/simd/row_kernels.h"

namespace fslcore {
namespace {

int64_t PanelCount(int64_t cols) { return DivideUp(cols, simd::Rows().panel); }

bool InPairs(const ConvShape& shape) { return shape.precision == Precision::kBfloat16; }

// How many floats hold `factors` factors.
int64_t Words(const ConvShape& shape, int64_t factors) {
  return InPairs(shape) ? DivideUp(factors, 2) : factors;
}

// From images of words to maps.
std::vector<WindowGroup> WordsToMaps(ConvShape shape, int64_t images) {
  shape.channels = Words(shape, shape.channels);
  return ForwardWindows(shape, images);
}

// From the gradient of the maps, in words, to the gradient of the images.
std::vector<WindowGroup> WordsToImages(ConvShape shape, int64_t images) {
  shape.filters = Words(shape, shape.filters);
  return BackwardWindows(shape, images);
}

// `rows` of `cols` factors as words: where they are, or put into `scratch`, which has room for them.
const float* RowsAsWords(const ConvShape& shape, const float* in, int64_t rows, int64_t cols,
                         float* scratch) {
  if (!InPairs(shape)) return in;
  simd::Convolution().pair_neighbours(in, rows, cols, scratch);
  return scratch;
}

// `count` images or maps of `size` floats as words of one or of two of them, likewise.
const float* ImagesAsWords(const ConvShape& shape, const float* in, int64_t count, int64_t size,
                           float* scratch) {
  if (!InPairs(shape)) return in;
  for (int64_t i = 0; i < count; i += 2)
    simd::Convolution().pair_rows(in + i * size, i + 1 < count ? in + (i + 1) * size : nullptr, size,
                                  scratch + i / 2 * size);
  return scratch;
}

void ApplyWindows(const ConvShape& shape, const std::vector<WindowGroup>& groups, int64_t images,
                  const float* in, const float* panels, int64_t depth, int64_t cols, float* out) {
  const auto apply = InPairs(shape) ? simd::Convolution().window_pairs : simd::Convolution().window;
  for (const WindowGroup& group : groups)
    apply({images * group.per_image, depth, cols, group.places.data(), group.runs.data(),
           static_cast<int64_t>(group.runs.size()), in, panels, out});
}

void AddKernelGrad(const ConvShape& shape, const std::vector<WindowGroup>& groups, int64_t images,
                   const float* in, const float* grad, float* out) {
  const auto add = InPairs(shape) ? simd::Convolution().window_grad_pairs : simd::Convolution().window_grad;
  for (const WindowGroup& group : groups)
    // 96 rows of 64 floats stay in the L1 cache while all taps pass.
    for (int64_t first = 0, rows = images * group.per_image; first < rows; first += 96)
      for (const simd::WindowRun& run : group.runs)
        add({run.length, shape.filters, group.places.data() + first, std::min<int64_t>(96, rows - first),
             in + run.in, grad, out + run.row * shape.filters});
}

// Each part of the images has a gradient of the kernel of its own, and they are added in order: at least 512
// positions a part, beside which adding them is little, but two as soon as there are 96; an even number, if
// there are images enough, and at most 16. Both images of a pair are in the same part.
ImageBlocks KernelGradParts(const ConvShape& shape) {
  const int64_t least = shape.positions() >= 96 ? 2 : 1;
  const int64_t parts = std::clamp<int64_t>(shape.positions() / 1024 * 2, least, 16);
  const ImageBlocks whole = {shape.count, 1, InPairs(shape) ? 2 : 1};
  return {shape.count, std::min(whole.units(), parts), whole.unit};
}

}  // namespace

ImageBlocks BlocksOf(const ConvShape& shape, int64_t positions) {
  const int64_t most = std::max<int64_t>(1, positions / std::max<int64_t>(1, shape.positions_each()));
  return {shape.count, std::min(shape.count, RoundUp(DivideUp(shape.count, most), 4))};
}

Convolution::Convolution(const Executor& executor, const ConvShape& shape, const float* images,
                         const float* kernel, int64_t block)
    : shape_(shape),
      images_(images),
      pairs_(InPairs(shape) ? 9 * Words(shape, shape.channels) * shape.filters : 0),
      // A kernel that is one whole panel already is used where it is.
      packed_(shape.filters == simd::Rows().panel
                  ? 0
                  : PanelCount(shape.filters) * 9 * Words(shape, shape.channels) * simd::Rows().panel),
      windows_(WordsToMaps(shape, block)) {
  const int64_t panel = simd::Rows().panel, filters = shape.filters, tap_size = shape.channels * filters;
  const int64_t words = Words(shape, shape.channels), depth = 9 * words;
  ParallelFor(executor, InPairs(shape) ? depth : 0, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t channel = 2 * (row % words);
      const float* first = kernel + row / words * tap_size + channel * filters;
      simd::Convolution().pair_rows(first, channel + 1 < shape.channels ? first + filters : nullptr, filters,
                                    pairs_.get() + row * filters);
    }
  });
  const float* rows = InPairs(shape) ? pairs_.get() : kernel;
  panels_ = filters == panel ? rows : packed_.get();
  ParallelFor(executor, filters == panel ? 0 : PanelCount(filters), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      simd::Rows().pack_columns(rows, depth, filters, p * panel, packed_.get() + p * panel * depth);
  });
}

Convolution::~Convolution() = default;

void Convolution::operator()(int64_t begin, int64_t end, float* maps) const {
  const int64_t words = Words(shape_, shape_.channels), pixels = (end - begin) * shape_.height * shape_.width;
  const Scratch<float> scratch(InPairs(shape_) ? pixels * words : 0);
  const float* in =
      RowsAsWords(shape_, images_ + begin * shape_.image_size(), pixels, shape_.channels, scratch.get());
  ApplyWindows(shape_, windows_, end - begin, in, panels_, 9 * words, shape_.filters, maps);
}

void ConvolutionGrad(const Executor& executor, const ConvShape& shape, const float* images,
                     const float* kernel, const MapsGrad& maps_grad, float* kernel_grad, float* images_grad) {
  const int64_t channels = shape.channels, filters = shape.filters, panel = simd::Rows().panel;
  const int64_t size = 9 * channels * filters;
  if (shape.positions() == 0) {
    std::fill(kernel_grad, kernel_grad + size, 0.0f);
    if (images_grad) std::fill(images_grad, images_grad + shape.count * shape.image_size(), 0.0f);
    return;
  }

  // The taps of the kernel, transposed: filters to channels.
  const int64_t panels = images_grad ? PanelCount(channels) : 0, words = Words(shape, filters);
  Scratch<float> transposed(panels * 9 * words * panel), pairs(InPairs(shape) ? 9 * channels * words : 0);
  ParallelFor(executor, images_grad ? 9 : 0, 1, [&](int64_t tap, int64_t) {
    const int64_t size_each = channels * words;
    const float* rows = RowsAsWords(shape, kernel + tap * channels * filters, channels, filters,
                                    pairs.get() + tap * size_each);
    for (int64_t p = 0; p < panels; ++p)
      simd::Rows().pack_rows(rows, channels, words, p * panel,
                             transposed.get() + (p * 9 + tap) * words * panel);
  });

  const ImageBlocks parts = KernelGradParts(shape);
  const int64_t fit = std::max<int64_t>(1, 512 / shape.positions_each());
  const int64_t block = std::min(parts.most() + parts.unit, RoundUp(fit, parts.unit));
  const auto forward = ForwardWindows(shape, Words(shape, block));
  const auto backward = images_grad ? WordsToImages(shape, block) : std::vector<WindowGroup>();
  Scratch<float> later_parts((parts.count - 1) * size);
  const auto gradient_of = [&](int64_t part) {
    return part == 0 ? kernel_grad : later_parts.get() + (part - 1) * size;
  };
  // The gradient of the images is shared out from the other end, so that a part with one image more for the
  // gradient of the kernel has one less for this.
  const auto images_begin = [&](int64_t part) {
    return std::max(parts.begin(part), shape.count - parts.begin(parts.count - part));
  };
  parts.ForEach(executor, [&](int64_t part, int64_t begin, int64_t end) {
    const int64_t images_from = images_grad ? images_begin(part) : end;
    const int64_t images_to = images_grad ? images_begin(part + 1) : end;
    std::fill(gradient_of(part), gradient_of(part) + size, 0.0f);
    const Scratch<float> scratch(block * shape.maps_size());
    const int64_t pair_count = InPairs(shape) ? Words(shape, block) : 0;
    const Scratch<float> image_words(pair_count * shape.image_size());
    const Scratch<float> map_words(
        InPairs(shape) ? std::max(pair_count * shape.maps_size(), block * shape.positions_each() * words)
                       : 0);
    for (int64_t first = begin; first < images_to; first += block) {
      const int64_t last = std::min(first + block, images_to);
      const float* grad = maps_grad(first, last, scratch.get());
      if (const int64_t count = std::min(last, end) - first; count > 0)
        AddKernelGrad(shape, forward, Words(shape, count),
                      ImagesAsWords(shape, images + first * shape.image_size(), count, shape.image_size(),
                                    image_words.get()),
                      ImagesAsWords(shape, grad, count, shape.maps_size(), map_words.get()),
                      gradient_of(part));
      const int64_t from = std::max(first, images_from);
      if (const int64_t count = last - from; count > 0)
        ApplyWindows(shape, backward, count,
                     RowsAsWords(shape, grad + (from - first) * shape.maps_size(),
                                 count * shape.positions_each(), filters, map_words.get()),
                     transposed.get(), 9 * words, channels, images_grad + from * shape.image_size());
    }
  });
  ParallelFor(executor, parts.count > 1 ? 9 * channels : 0, 64, [&](int64_t begin, int64_t end) {
    for (int64_t part = 1; part < parts.count; ++part)
      simd::Rows().axpy(1.0f, gradient_of(part) + begin * filters, kernel_grad + begin * filters,
                        (end - begin) * filters);
  });
}

}  // namespace fslcore
