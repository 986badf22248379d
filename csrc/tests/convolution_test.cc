// SPDX-License-Identifier: MIT
// Convolutions and their gradients, exactly on small integers; blocks, within derived bounds of double
// precision; sentinels, and the same bits by any number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "core/convolution/conv_block.h"
#include "tests/inputs.h"

namespace fslcore {
namespace {

struct Tap {
  int64_t position, weight, pixel;  // rows of the maps, of the kernel [9 * channels], of the images
};

// Every (output position, tap, channel) whose tap lies inside the image.
std::vector<Tap> Taps(const ConvShape& s) {
  const int64_t top = std::max<int64_t>((s.map_height() - 1) * s.stride + 3 - s.height, 0) / 2;
  const int64_t left = std::max<int64_t>((s.map_width() - 1) * s.stride + 3 - s.width, 0) / 2;
  std::vector<Tap> taps;
  for (int64_t p = 0; p < s.positions(); ++p)
    for (int64_t weight = 0; weight < 9 * s.channels; ++weight) {
      const int64_t image = p / s.positions_each(), tap = weight / s.channels;
      const int64_t row = p % s.positions_each() / s.map_width() * s.stride + tap / 3 - top;
      const int64_t col = p % s.map_width() * s.stride + tap % 3 - left;
      if (0 <= row && row < s.height && 0 <= col && col < s.width)
        taps.push_back(
            {p, weight, ((image * s.height + row) * s.width + col) * s.channels + weight % s.channels});
    }
  return taps;
}

std::string TextOf(const ConvShape& s) {
  return "images [" + std::to_string(s.count) + ", " + std::to_string(s.height) + ", " +
         std::to_string(s.width) + ", " + std::to_string(s.channels) + "], filters " +
         std::to_string(s.filters) + ", stride " + std::to_string(s.stride) + ", precision " +
         std::string(kPrecisionNames[static_cast<size_t>(s.precision)]);
}

void ExpectEqual(const char* what, const std::vector<float>& want, Guarded& got) {
  for (size_t i = 0; i < want.size(); ++i) ASSERT_EQ(want[i], got.get()[i]) << what << " at " << i;
}

// The convolution and its gradients of integers that bfloat16 holds, block by block and by threads: exact.
void CheckConvolution(const ConvShape& s, const std::vector<int>& threads_of_calls) {
  SCOPED_TRACE(TextOf(s));
  const auto images = Integers(s.count * s.image_size(), 1), kernel = Integers(9 * s.channels * s.filters, 2),
             grad = Integers(s.positions() * s.filters, 5);
  std::vector<float> maps(grad.size()), images_grad(images.size()), kernel_grad(kernel.size());
  for (const Tap& tap : Taps(s))
    for (int64_t c = 0; c < s.filters; ++c) {
      const auto out = static_cast<size_t>(tap.position * s.filters + c),
                 weight = static_cast<size_t>(tap.weight * s.filters + c);
      const auto pixel = static_cast<size_t>(tap.pixel);
      maps[out] += images[pixel] * kernel[weight];
      images_grad[pixel] += grad[out] * kernel[weight];
      kernel_grad[weight] += grad[out] * images[pixel];
    }

  for (int threads : threads_of_calls) {
    Guarded got(static_cast<int64_t>(maps.size())), of_images(static_cast<int64_t>(images.size())),
        of_kernel(static_cast<int64_t>(kernel.size()));
    const Executor executor = Threads(threads);
    const ImageBlocks blocks = BlocksOf(s, 100);
    const Convolution convolution(executor, s, images.data(), kernel.data(), blocks.most());
    blocks.ForEach(executor, [&](int64_t, int64_t begin, int64_t end) {
      convolution(begin, end, got.get() + begin * s.maps_size());
    });
    // Where it is, or put into the scratch.
    const MapsGrad stored = [&](int64_t begin, int64_t, float*) {
      return grad.data() + begin * s.maps_size();
    };
    const MapsGrad made = [&](int64_t begin, int64_t end, float* scratch) {
      std::copy(grad.begin() + begin * s.maps_size(), grad.begin() + end * s.maps_size(), scratch);
      return scratch;
    };
    ConvolutionGrad(executor, s, images.data(), kernel.data(), threads == 1 ? stored : made, of_kernel.get(),
                    of_images.get());
    ExpectEqual("maps", maps, got);
    ExpectEqual("images_grad", images_grad, of_images);
    ExpectEqual("kernel_grad", kernel_grad, of_kernel);
    for (const Guarded* buffer : {&got, &of_images, &of_kernel}) EXPECT_TRUE(buffer->intact());
  }
}

struct Results {
  Guarded outputs, maps, mean, variance, images_grad, kernel_grad, gamma_grad, beta_grad;
  std::vector<const Guarded*> all() const {
    return {&outputs, &maps, &mean, &variance, &images_grad, &kernel_grad, &gamma_grad, &beta_grad};
  }
};

struct Arguments {
  std::vector<float> images, kernel, gamma, beta, grad;
};

Results RunBlock(int threads, const ConvBlockShape& s, const Arguments& a) {
  const ConvShape& conv = s.conv;
  Results r = {Guarded(conv.count * s.outputs_size()),
               Guarded(KeepsMaps(conv) ? conv.count * conv.maps_size() : 0),
               Guarded(conv.filters),
               Guarded(conv.filters),
               Guarded(conv.count * conv.image_size()),
               Guarded(9 * conv.channels * conv.filters),
               Guarded(conv.filters),
               Guarded(conv.filters)};
  const ConvBlockInputs inputs = {a.images.data(), a.kernel.data(), a.gamma.data(), a.beta.data(), 0.5f};
  ConvBlock(Threads(threads), s, inputs,
            {r.outputs.get(), KeepsMaps(conv) ? r.maps.get() : nullptr, r.mean.get(), r.variance.get()});
  const ConvBlockSaved saved = {KeepsMaps(conv) ? r.maps.get() : nullptr, r.mean.get(), r.variance.get()};
  // Without a gradient of the images first: the others must not depend on it.
  ConvBlockGrad(Threads(threads), s, inputs, saved, a.grad.data(),
                {nullptr, r.kernel_grad.get(), r.gamma_grad.get(), r.beta_grad.get()});
  const std::vector<float> alone(r.kernel_grad.get(), r.kernel_grad.get() + a.kernel.size());
  ConvBlockGrad(Threads(threads), s, inputs, saved, a.grad.data(),
                {r.images_grad.get(), r.kernel_grad.get(), r.gamma_grad.get(), r.beta_grad.get()});
  ExpectEqual("kernel_grad without images_grad", alone, r.kernel_grad);
  return r;
}

void CheckBlock(const ConvBlockShape& s, const std::vector<int>& threads_of_calls) {
  SCOPED_TRACE(TextOf(s.conv) + ", pool " + std::to_string(s.pool));
  const ConvShape& conv = s.conv;
  const int64_t f = conv.filters, rows_each = s.out_height() * s.out_width();
  const Arguments a = {Integers(conv.count * conv.image_size(), 1), Integers(9 * conv.channels * f, 2),
                       Integers(f, 3), Integers(f, 4), Integers(conv.count * s.outputs_size(), 5)};
  Results results = RunBlock(1, s, a);
  for (int threads : threads_of_calls) {
    if (threads == 1) continue;
    const Results again = RunBlock(threads, s, a);
    for (size_t i = 0; i < results.all().size(); ++i)
      EXPECT_TRUE(*results.all()[i] == *again.all()[i]) << "result " << i << " by " << threads << " threads";
  }
  for (const Guarded* buffer : results.all()) EXPECT_TRUE(buffer->intact());

  std::vector<double> maps(static_cast<size_t>(conv.positions() * f));
  for (const Tap& tap : Taps(conv))
    for (int64_t c = 0; c < f; ++c)
      maps[static_cast<size_t>(tap.position * f + c)] +=
          a.images[static_cast<size_t>(tap.pixel)] * a.kernel[static_cast<size_t>(tap.weight * f + c)];

  // Float sums run over some 128 rows, so everything is good to gamma(130) = 8e-6 of what is added up.
  constexpr double kRounding = 2e-5;
  const double n = std::max<double>(1.0, static_cast<double>(conv.positions()));
  std::vector<double> maps_grad(maps.size()), grad_size(maps.size());
  for (int64_t c = 0; c < f; ++c) {
    const auto at = [&](int64_t p) { return static_cast<size_t>(p * f + c); };
    double mean = 0.0, size = 0.0, squares = 0.0;
    for (int64_t p = 0; p < conv.positions(); ++p) {
      mean += maps[at(p)] / n;
      size += std::fabs(maps[at(p)]) / n;
    }
    for (int64_t p = 0; p < conv.positions(); ++p) squares += std::pow(maps[at(p)] - mean, 2);
    const double variance = squares / n, inverse = 1.0 / std::sqrt(variance + 0.5);
    EXPECT_LE(std::fabs(results.mean.get()[c] - mean), kRounding * size) << "filter " << c;
    EXPECT_LE(std::fabs(results.variance.get()[c] - variance), kRounding * variance) << "filter " << c;

    const double scale = a.gamma[static_cast<size_t>(c)], shift = a.beta[static_cast<size_t>(c)];
    double gamma_grad = 0.0, gamma_size = 0.0, beta_grad = 0.0;
    for (int64_t image = 0; image < conv.count; ++image)
      for (int64_t out = 0; out < rows_each; ++out) {
        const int64_t row = out / std::max<int64_t>(1, s.out_width()) * s.pool,
                      col = out % std::max<int64_t>(1, s.out_width()) * s.pool;
        double largest = 0.0, centred = 0.0;
        int64_t winner = -1;
        for (int64_t e = 0; e < s.pool * s.pool; ++e) {
          const int64_t p =
              image * conv.positions_each() + (row + e / s.pool) * conv.map_width() + col + e % s.pool;
          const double value = scale * (maps[at(p)] - mean) * inverse + shift;
          if (value > largest + 1e-9) {  // the first of equals, whatever the last digits are
            largest = value;
            centred = (maps[at(p)] - mean) * inverse;
            winner = p;
          }
        }
        const double magnitude = std::fabs(centred) + size * inverse;
        const int64_t place = image * rows_each + out;
        const float output = results.outputs.get()[at(place)];
        EXPECT_LE(std::fabs(output - largest), kRounding * (8.0 * magnitude + 8.0))
            << "position " << place << ", filter " << c;
        if (output <= 0.0f || winner < 0) continue;
        const double d = a.grad[at(place)];
        gamma_grad += d * centred;
        gamma_size += std::fabs(d) * magnitude;
        beta_grad += d;
        maps_grad[at(winner)] += d;
      }
    EXPECT_EQ(results.beta_grad.get()[c], static_cast<float>(beta_grad)) << "filter " << c;
    EXPECT_LE(std::fabs(results.gamma_grad.get()[c] - gamma_grad), kRounding * gamma_size) << "filter " << c;
    for (int64_t p = 0; p < conv.positions(); ++p) {
      const double centred = (maps[at(p)] - mean) * inverse, d = maps_grad[at(p)];
      maps_grad[at(p)] = scale * inverse * (d - beta_grad / n - centred * gamma_grad / n);
      grad_size[at(p)] = std::fabs(scale) * inverse *
                         (std::fabs(d) + std::fabs(beta_grad) / n +
                          (std::fabs(centred) + size * inverse) * (gamma_size / n + 1.0));
    }
  }

  std::vector<double> images_grad(a.images.size()), of_images(a.images.size()), kernel_grad(a.kernel.size()),
      of_kernel(a.kernel.size());
  for (const Tap& tap : Taps(conv))
    for (int64_t c = 0; c < f; ++c) {
      const auto out = static_cast<size_t>(tap.position * f + c),
                 weight = static_cast<size_t>(tap.weight * f + c), pixel = static_cast<size_t>(tap.pixel);
      images_grad[pixel] += maps_grad[out] * a.kernel[weight];
      of_images[pixel] += grad_size[out] * std::fabs(a.kernel[weight]);
      kernel_grad[weight] += maps_grad[out] * a.images[pixel];
      of_kernel[weight] += grad_size[out] * std::fabs(a.images[pixel]);
    }
  // The convolutions add up to 600 terms, and a kernel's gradient one for each position of a part. Images and
  // kernel are exact in bfloat16, the gradient of the maps is rounded to it.
  const double bound = 4.0 * kRounding + (conv.precision == Precision::kBfloat16 ? 0x1p-8 : 0.0);
  for (size_t i = 0; i < images_grad.size(); ++i)
    EXPECT_LE(std::fabs(results.images_grad.get()[i] - images_grad[i]), bound * of_images[i]) << "at " << i;
  for (size_t i = 0; i < kernel_grad.size(); ++i)
    EXPECT_LE(std::fabs(results.kernel_grad.get()[i] - kernel_grad[i]), bound * of_kernel[i]) << "at " << i;
}

void CheckAll(ConvShape shape) {
  for (Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    shape.precision = precision;
    CheckConvolution(shape, {1, 3});
    for (int64_t pool : {1, 2}) CheckBlock({shape, pool}, {1, 3});
  }
}

// The same for a shape that is too large for all combinations.
void CheckLarge(ConvShape shape) {
  for (const auto& [precision, pool] : {std::pair{Precision::kFloat32, 2}, {Precision::kBfloat16, 1}}) {
    shape.precision = precision;
    CheckConvolution(shape, {1, 2, 3});
    CheckBlock({shape, pool}, {1, 2, 3});
  }
}

TEST(Convolution, AllShapes) {
  int64_t stride = 1;  // either one with every pair, on the one image or the other
  for (int64_t channels : {0, 1, 3, 16, 17, 64})
    for (int64_t filters : {0, 1, 7, 8, 16, 17, 33, 64, 65}) {
      CheckAll({3, 5, 4, channels, filters, stride});
      stride = 3 - stride;
      CheckAll({2, 1, 6, channels, filters, stride});
    }
  for (int64_t by : {1, 2})
    for (int64_t height = 0; height < 10; ++height)
      for (int64_t width : {1, 2, 3, 8}) CheckAll({2, height, width, 2, 5, by});
  CheckAll({0, 5, 5, 3, 16, 2});
  CheckAll({1, 5, 5, 3, 16, 2});
}

// The shapes that threads share.
TEST(Convolution, AllShapesOfSeveralParts) {
  // Few channels: rows longer than the positions that are summed at a time, and more images than parts.
  for (int64_t stride : {1, 2}) {
    CheckLarge({2, 3, 150, 1, 9, stride});
    CheckLarge({1, 5, 290, 2, 16, stride});
    CheckLarge({35, 7, 6, 3, 24, stride});
  }
  CheckLarge({600, 6, 5, 3, 17, 2});  // several blocks, parts and sums
  CheckLarge({7, 28, 28, 1, 64, 2});
  CheckLarge({22, 28, 28, 1, 64, 1});  // maps that are not kept
}

}  // namespace
}  // namespace fslcore
