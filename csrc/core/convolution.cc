// SPDX-License-Identifier: MIT
#include "core/convolution.h"

#include <algorithm>

#include "core/conv_windows.h"

namespace fslcore {
namespace {

int64_t PanelCount(int64_t cols) { return DivideUp(cols, Simd().panel); }

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

// Each part of the images has a gradient of the kernel of its own, and they are added in order: at least 512
// positions a part, beside which adding them is little, but two as soon as there are 256; at most 16 parts.
int64_t KernelGradParts(const ConvShape& shape) {
  const int64_t least = shape.positions() >= 256 ? 2 : 1;
  return std::min(shape.count, std::clamp<int64_t>(shape.positions() / 512, least, 16));
}

}  // namespace

int64_t ImagesPerBlock(const ConvShape& shape, int64_t positions) {
  const int64_t most = std::max<int64_t>(1, positions / std::max<int64_t>(1, shape.positions_each()));
  const int64_t blocks = std::max<int64_t>(1, DivideUp(shape.count, most));
  return std::max<int64_t>(1, DivideUp(shape.count, blocks));
}

Convolution::Convolution(const Executor& executor, const ConvShape& shape, const float* images,
                         const float* kernel, int64_t block)
    : shape_(shape),
      images_(images),
      // A kernel that is one whole panel already is used where it is.
      packed_(shape.filters == Simd().panel ? 0
                                            : PanelCount(shape.filters) * 9 * shape.channels * Simd().panel),
      panels_(shape.filters == Simd().panel ? kernel : packed_.get()),
      windows_(ForwardWindows(shape, block)) {
  if (panels_ == kernel) return;
  const int64_t panel = Simd().panel, depth = 9 * shape.channels;
  ParallelFor(executor, PanelCount(shape.filters), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      Simd().pack_columns(kernel, depth, shape.filters, p * panel, packed_.get() + p * panel * depth);
  });
}

Convolution::~Convolution() = default;

void Convolution::operator()(int64_t begin, int64_t end, float* maps) const {
  ApplyWindows(windows_, end - begin, images_ + begin * shape_.image_size(), panels_, 9 * shape_.channels,
               shape_.filters, maps);
}

void ConvolutionGrad(const Executor& executor, const ConvShape& shape, const float* images,
                     const float* kernel, const MapsGrad& maps_grad, float* kernel_grad, float* images_grad) {
  const int64_t channels = shape.channels, filters = shape.filters, panel = Simd().panel;
  const int64_t size = 9 * channels * filters;
  if (shape.positions() == 0) {
    std::fill(kernel_grad, kernel_grad + size, 0.0f);
    if (images_grad) std::fill(images_grad, images_grad + shape.count * shape.image_size(), 0.0f);
    return;
  }

  // The taps of the kernel, transposed: filters to channels.
  const int64_t panels = images_grad ? PanelCount(channels) : 0;
  Scratch<float> transposed(panels * 9 * filters * panel);
  ParallelFor(executor, panels * 9, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)  // panel by panel, tap by tap
      Simd().pack_rows(kernel + i % 9 * channels * filters, channels, filters, i / 9 * panel,
                       transposed.get() + i * filters * panel);
  });

  const int64_t parts = KernelGradParts(shape), part_images = DivideUp(shape.count, parts);
  const int64_t block = std::min(part_images, ImagesPerBlock(shape, 512));
  const auto forward = ForwardWindows(shape, block);
  const auto backward = images_grad ? BackwardWindows(shape, block) : std::vector<WindowGroup>();
  Scratch<float> later_parts((parts - 1) * size);
  const auto gradient_of = [&](int64_t part) {
    return part == 0 ? kernel_grad : later_parts.get() + (part - 1) * size;
  };
  ParallelFor(executor, parts, 1, [&](int64_t part, int64_t) {
    std::fill(gradient_of(part), gradient_of(part) + size, 0.0f);
    const Scratch<float> scratch(block * shape.maps_size());
    const int64_t end = std::min((part + 1) * part_images, shape.count);
    for (int64_t first = part * part_images; first < end; first += block) {
      const int64_t last = std::min(first + block, end);
      const float* grad = maps_grad(first, last, scratch.get());
      AddKernelGrad(forward, last - first, filters, images + first * shape.image_size(), grad,
                    gradient_of(part));
      if (images_grad)
        ApplyWindows(backward, last - first, grad, transposed.get(), 9 * filters, channels,
                     images_grad + first * shape.image_size());
    }
  });
  ParallelFor(executor, parts > 1 ? 9 * channels : 0, 64, [&](int64_t begin, int64_t end) {
    for (int64_t part = 1; part < parts; ++part)
      Simd().axpy(1.0f, gradient_of(part) + begin * filters, kernel_grad + begin * filters,
                  (end - begin) * filters);
  });
}

}  // namespace fslcore
