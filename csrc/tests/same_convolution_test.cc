// SPDX-License-Identifier: MIT
// Convolutions without stride and their gradients, exactly on small integers, between sentinels, by any
// number of threads.
#include "core/convolution/same_convolution.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/inputs.h"

namespace fslcore {
namespace {

void ExpectEqual(const char* what, const std::vector<float>& want, Guarded& got) {
  EXPECT_TRUE(got.intact()) << what;
  for (size_t i = 0; i < want.size(); ++i) ASSERT_EQ(want[i], got.get()[i]) << what << " at " << i;
}

void Check(const SameConvolutionShape& s) {
  SCOPED_TRACE("images " + ShapeText({s.count, s.height, s.width, s.channels}) + ", kernel " +
               ShapeText({s.size, s.filters}));
  const auto images = Integers(s.positions() * s.channels, 1), kernel = Integers(s.kernel_size(), 2),
             grad = Integers(s.positions() * s.filters, 5);
  std::vector<float> maps(grad.size()), images_grad(images.size()), kernel_grad(kernel.size());
  for (int64_t p = 0; p < s.positions(); ++p)
    for (int64_t tap = 0; tap < s.size * s.size; ++tap) {
      const int64_t image = p / s.positions_each();
      const int64_t row = p % s.positions_each() / s.width + tap / s.size - s.size / 2;
      const int64_t col = p % s.width + tap % s.size - s.size / 2;
      if (row < 0 || row >= s.height || col < 0 || col >= s.width) continue;
      for (int64_t k = 0; k < s.channels; ++k)
        for (int64_t f = 0; f < s.filters; ++f) {
          const auto pixel = static_cast<size_t>(((image * s.height + row) * s.width + col) * s.channels + k);
          const auto weight = static_cast<size_t>((tap * s.channels + k) * s.filters + f);
          const auto out = static_cast<size_t>(p * s.filters + f);
          maps[out] += images[pixel] * kernel[weight];
          images_grad[pixel] += grad[out] * kernel[weight];
          kernel_grad[weight] += grad[out] * images[pixel];
        }
    }
  for (int threads : {1, 2, 3}) {
    const auto guarded = [](const std::vector<float>& like) {
      return Guarded(static_cast<int64_t>(like.size()));
    };
    Guarded got = guarded(maps), of_images = guarded(images_grad), of_kernel = guarded(kernel_grad);
    SameConvolution(Threads(threads), s, images.data(), kernel.data(), got.get());
    SameConvolutionGrad(Threads(threads), s, grad.data(), images.data(), kernel.data(), of_images.get(),
                        of_kernel.get());
    ExpectEqual("maps", maps, got);
    ExpectEqual("gradient of the images", images_grad, of_images);
    ExpectEqual("gradient of the kernel", kernel_grad, of_kernel);
  }
}

TEST(SameConvolution, IsExactOnIntegers) {
  for (const int64_t size : {1, 3, 5, 7})
    for (const int64_t channels : {0, 1, 5, 16, 33})
      for (const int64_t filters : {0, 1, 7, 16, 35}) Check({2, 4, 3, channels, size, filters});
  Check({5, 9, 8, 100, 3, 20});  // several blocks of positions, and of rows
  Check({0, 3, 3, 4, 3, 4});
  Check({2, 0, 3, 4, 3, 4});
  Check({2, 1, 1, 8, 5, 8});
}

}  // namespace
}  // namespace fslcore
