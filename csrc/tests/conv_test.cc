// SPDX-License-Identifier: MIT
#include "tests/conv_test.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/conv_block.h"
#include "tests/check.h"

namespace fslcore {
namespace {

struct Tap {
  int64_t position, weight, pixel;  // rows of convolved, of the kernel [9 * channels], of the images
};

// Every (output position, tap, channel) whose tap lies inside the image.
std::vector<Tap> Taps(const ConvShape& s) {
  const int64_t top = std::max<int64_t>((s.out_height() - 1) * s.stride + 3 - s.height, 0) / 2;
  const int64_t left = std::max<int64_t>((s.out_width() - 1) * s.stride + 3 - s.width, 0) / 2;
  std::vector<Tap> taps;
  for (int64_t p = 0; p < s.positions(); ++p)
    for (int64_t weight = 0; weight < 9 * s.channels; ++weight) {
      const int64_t image = p / s.positions_each(), tap = weight / s.channels;
      const int64_t row = p % s.positions_each() / s.out_width() * s.stride + tap / 3 - top;
      const int64_t col = p % s.out_width() * s.stride + tap % 3 - left;
      if (0 <= row && row < s.height && 0 <= col && col < s.width)
        taps.push_back(
            {p, weight, ((image * s.height + row) * s.width + col) * s.channels + weight % s.channels});
    }
  return taps;
}

struct Results {
  Guarded outputs, convolved, mean, variance, convolved_grad, gamma_grad, beta_grad, images_grad, kernel_grad;
  std::vector<const Guarded*> all() const {
    return {&outputs,    &convolved, &mean,        &variance,   &convolved_grad,
            &gamma_grad, &beta_grad, &images_grad, &kernel_grad};
  }
};

// The gradients of images and kernel are those of `grad` itself, so that they are integers.
Results RunAll(int threads, const ConvShape& s, const std::vector<float>& images,
               const std::vector<float>& kernel, const std::vector<float>& gamma,
               const std::vector<float>& beta, const std::vector<float>& grad) {
  const int64_t size = s.positions() * s.filters;
  Results r = {Guarded(size),
               Guarded(size),
               Guarded(s.filters),
               Guarded(s.filters),
               Guarded(size),
               Guarded(s.filters),
               Guarded(s.filters),
               Guarded(s.count * s.image_size()),
               Guarded(9 * s.channels * s.filters)};
  const ConvNorm norm = {gamma.data(), beta.data(), 0.5f};
  ConvBlock(Threads(threads), s, images.data(), kernel.data(), norm,
            {r.outputs.get(), r.convolved.get(), r.mean.get(), r.variance.get()});
  std::copy(grad.begin(), grad.end(), r.convolved_grad.get());  // in place, as TensorFlow may ask for
  ConvBlockNormGrad(Threads(threads), s.positions(), s.filters, r.convolved_grad.get(), r.convolved.get(),
                    r.mean.get(), r.variance.get(), norm,
                    {r.convolved_grad.get(), r.gamma_grad.get(), r.beta_grad.get()});
  ConvInputGrad(Threads(threads), s, kernel.data(), grad.data(), r.images_grad.get());
  ConvKernelGrad(Threads(threads), s, images.data(), grad.data(), r.kernel_grad.get());
  return r;
}

void ExpectEqual(const char* what, const std::vector<float>& want, Guarded& got, int64_t detail) {
  for (size_t i = 0; i < want.size(); ++i)
    if (want[i] != got.get()[i]) return Expect(false, what, static_cast<int64_t>(i), detail);
}

void TestConvolution(const ConvShape& s) {
  const int64_t f = s.filters;
  const auto images = Integers(s.count * s.image_size(), 1), kernel = Integers(9 * s.channels * f, 2),
             gamma = Integers(f, 3), beta = Integers(f, 4), grad = Integers(s.positions() * f, 5);
  Results results = RunAll(1, s, images, kernel, gamma, beta, grad);
  for (int threads : {2, 3}) {
    const Results again = RunAll(threads, s, images, kernel, gamma, beta, grad);
    for (size_t i = 0; i < results.all().size(); ++i)
      Expect(*results.all()[i] == *again.all()[i], "threads change convolutions", static_cast<int64_t>(i),
             threads);
  }
  for (const Guarded* buffer : results.all())
    Expect(buffer->intact(), "sentinels of convolutions", s.height, f);

  std::vector<float> convolved(grad.size()), images_grad(images.size()), kernel_grad(kernel.size());
  for (const Tap& tap : Taps(s))
    for (int64_t c = 0; c < f; ++c) {
      const auto out = static_cast<size_t>(tap.position * f + c),
                 weight = static_cast<size_t>(tap.weight * f + c);
      const auto pixel = static_cast<size_t>(tap.pixel);
      convolved[out] += images[pixel] * kernel[weight];
      images_grad[pixel] += grad[out] * kernel[weight];
      kernel_grad[weight] += grad[out] * images[pixel];
    }
  ExpectEqual("convolved", convolved, results.convolved, s.channels);
  ExpectEqual("images_grad", images_grad, results.images_grad, s.channels);
  ExpectEqual("kernel_grad", kernel_grad, results.kernel_grad, s.channels);

  // Float sums run over at most 128 rows, so everything is good to gamma(130) = 8e-6 of what is added up.
  constexpr double kRounding = 2e-5;
  const double n = std::max<double>(1.0, static_cast<double>(s.positions()));
  for (int64_t c = 0; c < f; ++c) {
    const auto at = [&](int64_t p) { return static_cast<size_t>(p * f + c); };
    double mean = 0.0, size = 0.0, squares = 0.0;
    for (int64_t p = 0; p < s.positions(); ++p) {
      mean += convolved[at(p)] / n;
      size += std::fabs(convolved[at(p)]) / n;
    }
    for (int64_t p = 0; p < s.positions(); ++p) squares += std::pow(convolved[at(p)] - mean, 2);
    const double variance = squares / n, inverse = 1.0 / std::sqrt(variance + 0.5);
    Expect(std::fabs(results.mean.get()[c] - mean) <= kRounding * size, "mean", c, s.height);
    Expect(std::fabs(results.variance.get()[c] - variance) <= kRounding * variance, "variance", c, s.height);

    double gamma_grad = 0.0, gamma_size = 0.0, beta_grad = 0.0;
    for (int64_t p = 0; p < s.positions(); ++p) {
      const double centred = (convolved[at(p)] - mean) * inverse;
      const double scaled = gamma[static_cast<size_t>(c)] * centred, shift = beta[static_cast<size_t>(c)];
      const double magnitude = std::fabs(centred) + size * inverse;
      const float output = results.outputs.get()[at(p)];
      Expect(std::fabs(output - std::max(scaled + shift, 0.0)) <= kRounding * (8.0 * magnitude + 8.0),
             "outputs", p, c);
      if (output <= 0.0f) continue;
      gamma_grad += grad[at(p)] * centred;
      gamma_size += std::fabs(grad[at(p)]) * magnitude;
      beta_grad += grad[at(p)];
    }
    Expect(results.beta_grad.get()[c] == static_cast<float>(beta_grad), "beta_grad", c, s.height);
    Expect(std::fabs(results.gamma_grad.get()[c] - gamma_grad) <= kRounding * gamma_size, "gamma_grad", c,
           s.height);
  }
}

}  // namespace

void TestConvolutions() {
  for (int64_t stride : {1, 2})
    for (int64_t channels : {0, 1, 3, 16, 17, 64})
      for (int64_t filters : {0, 1, 7, 8, 16, 17, 33, 64, 65}) {
        TestConvolution({3, 5, 4, channels, filters, stride});
        TestConvolution({2, 1, 6, channels, filters, stride});
      }
  for (int64_t stride : {1, 2})
    for (int64_t height = 0; height < 10; ++height)
      for (int64_t width : {1, 2, 3, 8}) TestConvolution({2, height, width, 2, 5, stride});
  TestConvolution({0, 5, 5, 3, 16, 2});
  TestConvolution({600, 6, 5, 3, 17, 2});  // several blocks, parts and sums
  TestConvolution({7, 28, 28, 1, 64, 2});
}

}  // namespace fslcore
