// SPDX-License-Identifier: MIT
#include "core/convolution/same_convolution.h"

#include <algorithm>
#include <vector>

#include "core/arrays/rounding.h"
#include "core/arrays/scratch.h"
#include "core/simd/convolution_kernels.h"
#include "core/simd/row_kernels.h"

namespace fslcore {
namespace {

// Positions whose windows meet a panel of the kernel one after the other: enough that reading the panel from
// the L2 cache is shared, and blocks for all threads.
constexpr int64_t kPositionsPerBlock = 4 * 49;

// For the gradient of the kernel: positions that are summed at a time, and at most so many rows of it for a
// thread at a time. Their factors are copied side by side, an odd number of cache lines apart: where they
// are, those of 64, 128 or 256 channels displace each other from the L1 cache. All of the maps' gradient is
// read again for other rows.
constexpr int64_t kPositionsPerSum = 128, kRowsPerBlock = 96;

// Images with a border of zeros.
struct Padded {
  int64_t height, width, channels;
  Scratch<float> pixels;

  Padded(const Executor& executor, const SameConvolutionShape& shape, const float* images, int64_t channels)
      : height(shape.height + shape.size - 1),
        width(shape.width + shape.size - 1),
        channels(channels),
        pixels(shape.count * height * width * channels) {
    const int64_t border = shape.size / 2, line = shape.width * channels, side = border * channels;
    ParallelFor(executor, shape.count * height, 16, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        float* out = pixels.get() + row * width * channels;
        const int64_t image = row / height, from = row % height - border;
        if (from < 0 || from >= shape.height) {
          std::fill(out, out + width * channels, 0.0f);
          continue;
        }
        std::fill(out, out + side, 0.0f);
        std::copy_n(images + (image * shape.height + from) * line, line, out + side);
        std::fill(out + side + line, out + width * channels, 0.0f);
      }
    });
  }

  // The windows of all positions; results have `cols` columns.
  std::vector<simd::WindowPlace> Places(const SameConvolutionShape& shape, int64_t cols) const {
    std::vector<simd::WindowPlace> places;
    places.reserve(static_cast<size_t>(shape.positions()));
    for (int64_t image = 0; image < shape.count; ++image)
      for (int64_t r = 0; r < shape.height; ++r)
        for (int64_t c = 0; c < shape.width; ++c)
          places.push_back(
              {((image * height + r) * width + c) * channels, static_cast<int64_t>(places.size()) * cols});
    return places;
  }
};

// `rows` is the kernel as [size * size * channels, filters].
void Convolve(const Executor& executor, const SameConvolutionShape& shape, const float* images,
              const float* rows, float* maps) {
  const int64_t panel = simd::Rows().panel, panels = DivideUp(shape.filters, panel);
  const int64_t depth = shape.size * shape.size * shape.channels;
  const Padded padded(executor, shape, images, shape.channels);
  const Scratch<float> packed(panels * depth * panel);
  ParallelFor(executor, panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      simd::Rows().pack_columns(rows, depth, shape.filters, p * panel, packed.get() + p * panel * depth);
  });
  std::vector<simd::WindowRun> runs;
  const int64_t line = shape.size * shape.channels;
  for (int64_t row = 0; row < shape.size; ++row)
    runs.push_back({row * padded.width * shape.channels, row * line, line});
  const auto places = padded.Places(shape, shape.filters);
  ParallelFor(executor, shape.positions(), kPositionsPerBlock, [&](int64_t begin, int64_t end) {
    simd::Convolution().window({end - begin, depth, shape.filters, places.data() + begin, runs.data(),
                                static_cast<int64_t>(runs.size()), padded.pixels.get(), packed.get(), maps});
  });
}

// The kernel by which the gradient of the maps is convolved: turned by half, filters to channels.
Scratch<float> Turned(const Executor& executor, const SameConvolutionShape& shape, const float* kernel) {
  const int64_t taps = shape.size * shape.size, each = shape.channels * shape.filters;
  Scratch<float> turned(taps * each);
  ParallelFor(executor, taps, 1, [&](int64_t begin, int64_t end) {
    for (int64_t tap = begin; tap < end; ++tap)
      simd::Rows().transpose(kernel + tap * each, shape.filters, shape.channels, shape.filters,
                             turned.get() + (taps - 1 - tap) * each, shape.channels);
  });
  return turned;
}

// The rows of the gradient of the maps by chunks of positions, and each chunk by panels of columns.
Scratch<float> InPanels(const Executor& executor, const SameConvolutionShape& shape, const float* grad) {
  const int64_t panel = simd::Rows().panel, panels = DivideUp(shape.filters, panel);
  const int64_t positions = shape.positions(), chunks = DivideUp(positions, kPositionsPerSum);
  Scratch<float> packed(chunks * panels * kPositionsPerSum * panel);
  ParallelFor(executor, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk)
      for (int64_t p = 0; p < panels; ++p) {
        const int64_t first = chunk * kPositionsPerSum;
        simd::Rows().pack_columns(grad + first * shape.filters, std::min(kPositionsPerSum, positions - first),
                                  shape.filters, p * panel,
                                  packed.get() + (chunk * panels + p) * kPositionsPerSum * panel);
      }
  });
  return packed;
}

// Each thread sums some rows of the kernel's gradient over all positions.
void FindKernelGrad(const Executor& executor, const SameConvolutionShape& shape, const float* grad,
                    const float* images, float* kernel_grad) {
  const int64_t panel = simd::Rows().panel, panels = DivideUp(shape.filters, panel);
  const Padded padded(executor, shape, images, shape.channels);
  const Scratch<float> packed = InPanels(executor, shape, grad);
  const auto places = padded.Places(shape, shape.filters);
  const int64_t taps = shape.size * shape.size;
  const int64_t rows_each =
      RoundUp(DivideUp(shape.channels, DivideUp(shape.channels, kRowsPerBlock)), simd::Rows().tile_rows);
  const int64_t pieces = DivideUp(shape.channels, rows_each);
  ParallelFor(executor, taps * pieces, 1, [&](int64_t begin, int64_t) {
    const int64_t tap = begin / pieces, channel = begin % pieces * rows_each;
    const int64_t rows = std::min(rows_each, shape.channels - channel);
    const float* pixels =
        padded.pixels.get() + (tap / shape.size * padded.width + tap % shape.size) * shape.channels + channel;
    const int64_t line = (DivideUp(rows, int64_t{16}) | 1) * 16;
    const Scratch<float> factors(kPositionsPerSum * line), sums(panels * rows * panel);
    std::fill(sums.get(), sums.get() + panels * rows * panel, 0.0f);
    std::vector<simd::WindowPlace> side_by_side;
    for (int64_t i = 0; i < kPositionsPerSum; ++i) side_by_side.push_back({i * line, i * panel});
    for (int64_t first = 0; first < shape.positions(); first += kPositionsPerSum) {
      const int64_t count = std::min(kPositionsPerSum, shape.positions() - first);
      for (int64_t i = 0; i < count; ++i)
        std::copy_n(pixels + places[static_cast<size_t>(first + i)].in, rows, factors.get() + i * line);
      const float* chunk = packed.get() + first * panels * panel;
      for (int64_t p = 0; p < panels; ++p)
        simd::Convolution().window_grad(
            {rows, std::min(panel, shape.filters - p * panel), side_by_side.data(), count, factors.get(),
             chunk + p * kPositionsPerSum * panel, sums.get() + p * rows * panel});
    }
    float* out = kernel_grad + (tap * shape.channels + channel) * shape.filters;
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t cols = std::min(panel, shape.filters - p * panel);
      for (int64_t row = 0; row < rows; ++row)
        std::copy_n(sums.get() + p * rows * panel + row * cols, cols, out + row * shape.filters + p * panel);
    }
  });
}

}  // namespace

SameConvolutionShape SameConvolutionShapeOf(const Sizes& images, const Sizes& kernel) {
  return {images[0], images[1], images[2], images[3], kernel[0], kernel[3]};
}

std::string CheckSameConvolution(const Sizes& images, const Sizes& kernel) {
  const std::string problem = FirstOf({CheckAxes("images", images, 4), CheckAxes("kernel", kernel, 4)});
  if (!problem.empty()) return problem;
  if (kernel[0] % 2 == 0 || kernel[0] > 31)
    return "kernel must have an odd size of at most 31, received shape " + ShapeText(kernel);
  if (images[0] > kMostPositions)
    return "images must hold fewer than 2^31 images, received shape " + ShapeText(images);
  return FirstOf(
      {CheckSizes("kernel", kernel, {kernel[0], kernel[0], images[3], kernel[3]}),
       CheckElements("padded images", {images[0], images[1] + kernel[0], images[2] + kernel[0], images[3]})});
}

std::string CheckSameConvolutionGrad(const Sizes& grad, const Sizes& images, const Sizes& kernel) {
  const std::string problem = CheckSameConvolution(images, kernel);
  if (!problem.empty()) return problem;
  return CheckSizes("grad", grad, {images[0], images[1], images[2], kernel[3]});
}

void SameConvolution(const Executor& executor, const SameConvolutionShape& shape, const float* images,
                     const float* kernel, float* maps) {
  if (shape.positions() > 0 && shape.filters > 0) Convolve(executor, shape, images, kernel, maps);
}

void SameConvolutionGrad(const Executor& executor, const SameConvolutionShape& shape, const float* grad,
                         const float* images, const float* kernel, float* images_grad, float* kernel_grad) {
  if (images_grad != nullptr && shape.positions() > 0 && shape.channels > 0) {
    SameConvolutionShape back = shape;
    std::swap(back.channels, back.filters);
    const Scratch<float> turned = Turned(executor, shape, kernel);
    Convolve(executor, back, grad, turned.get(), images_grad);
  }
  if (kernel_grad != nullptr && shape.kernel_size() > 0)
    FindKernelGrad(executor, shape, grad, images, kernel_grad);
}

}  // namespace fslcore
