// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstring>

#include "core/random/philox.h"
#include "cuda/images/transforms.h"
#include "cuda/images/warp.h"
#include "tests/cuda_check.h"
#include "tests/cuda_checks.h"
#include "tests/device_memory.h"

namespace fslcore {
namespace {

using Integers64 = std::vector<int64_t>;
using Floats = std::vector<float>;

bool Same(const Floats& got, const Floats& want) {
  bool same = got.size() == want.size();
  for (size_t i = 0; same && i < got.size(); ++i)
    same = (std::isnan(got[i]) && std::isnan(want[i])) || std::memcmp(&got[i], &want[i], sizeof got[i]) == 0;
  return same;
}

Floats Distributions() {
  Floats rows;
  for (int p = 0; p < kAffineParameters; ++p)
    for (float value :
         {p == kRotation ? -180.0f : -0.4f, p == kRotation ? 180.0f : 1.3f, 0.75f, p % 3 == 1 ? 1.0f : 0.0f})
      rows.push_back(value);
  return rows;
}

Floats Transforms(int64_t count, const Integers64& sizes, int64_t seed) {
  Integers64 numbers;
  for (int64_t i = 0; i < count; ++i) numbers.push_back(i);
  Floats out(static_cast<size_t>(count * kTransform));
  DrawTransforms({}, Distributions().data(), {sizes[0], sizes[1], sizes[2], sizes[3]},
                 {numbers.data(), count}, seed, 5, out.data());
  return out;
}

void TestDraws() {
  const Floats rows = Distributions();
  for (const Integers64& sizes : {Integers64{28, 28, 28, 28}, {5, 9, 1, 40}, {0, 9, 3, 3}}) {
    Integers64 numbers = {0, 1, 2, kMostPositions, -1, int64_t{kMostPositions} + 1};
    for (int64_t i = 0; i < 300; ++i) numbers.push_back(i);
    const auto count = static_cast<int64_t>(numbers.size());
    for (int64_t seed : {int64_t{1} << 40, int64_t{-1}}) {
      const DeviceArray<float> distributions(rows), out(count * kTransform);
      const DeviceArray<int64_t> of(sizes), picked(numbers), key(Integers64{seed}), step(Integers64{7});
      Expect(cuda::DrawTransforms(nullptr, distributions.get(), of.get(), {picked.get(), count}, key.get(),
                                  step.get(), out.get())
                 .empty(),
             "transforms on the device", seed, count);
      Floats want(static_cast<size_t>(count * kTransform), NAN);
      for (int64_t i = 0; i < count && seed >= 0 && sizes[0] > 0; ++i)
        if (i != 4 && i != 5)
          DrawTransforms({}, rows.data(), {sizes[0], sizes[1], sizes[2], sizes[3]},
                         {&numbers[static_cast<size_t>(i)], 1}, seed, 7,
                         &want[static_cast<size_t>(i * kTransform)]);
      Expect(out.intact() && Same(out.values(), want), "the core's transforms", sizes[0], seed);
    }
  }
}

void TestWarps() {
  const Integers64 indices = {3, 0, 4, 1, -1, 2, 5, 0}, turns = {0, 1, 2, 3};
  for (int64_t channels : {1, 3, 4})
    for (const Fill fill : {Fill::kConstant, Fill::kNearest})
      for (int64_t size : {1, 6, 29}) {
        std::vector<uint8_t> bytes(static_cast<size_t>(5 * size * size * channels));
        PhiloxStream stream(1, 2, 3);
        for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(stream.Next());
        Warp warp;
        warp.fill = fill;
        warp.fill_value = 11.0f;
        warp.scale = 1.0f / 255.0f;
        warp.shift = -0.5f;
        if (size == 6) warp.height = 4, warp.width = 9;
        const int64_t values = warp.out_height(size) * warp.out_width(size) * channels;
        Floats transforms = Transforms(8, {size, size, warp.out_height(size), warp.out_width(size)}, 3);
        transforms[7] = INFINITY;
        const Images store = {bytes.data(), 5, size, size, channels};
        Floats want(static_cast<size_t>(8 * values), NAN);
        for (size_t i = 0; i < 8; ++i)
          if (i != 1 && i != 4 && i != 6)
            GatherWarped({}, store, {&indices[i], 1}, {&turns[i / 2], 1}, &transforms[i * kTransform], warp,
                         &want[i * static_cast<size_t>(values)]);
        const DeviceArray<uint8_t> pixels(bytes);
        const DeviceArray<int64_t> picked(indices), turned(turns);
        const DeviceArray<float> by(transforms), out(8 * values);
        Expect(cuda::GatherWarped(nullptr, {pixels.get(), 5, size, size, channels}, {picked.get(), 8},
                                  {turned.get(), 4}, by.get(), warp, out.get())
                   .empty(),
               "gathered on the device", channels, size);
        Expect(out.intact() && Same(out.values(), want), "the core's warped pictures", channels, size);

        Floats floats(bytes.begin(), bytes.end());
        Warp plain = warp;
        plain.scale = 1.0f, plain.shift = 0.0f;
        const FloatImages images = {floats.data(), 5, size, size, channels};
        Floats warped(static_cast<size_t>(5 * values), NAN);
        WarpImages({}, {images.data, 1, size, size, channels}, transforms.data(), plain, warped.data());
        WarpImages({}, {images.data + 2 * size * size * channels, 3, size, size, channels},
                   transforms.data() + 2 * kTransform, plain, warped.data() + 2 * values);
        const DeviceArray<float> on_device(floats), result(5 * values);
        Expect(cuda::WarpImages(nullptr, {on_device.get(), 5, size, size, channels}, by.get(), plain,
                                result.get())
                   .empty(),
               "warped on the device", channels, size);
        Expect(result.intact() && Same(result.values(), warped), "the core's warped floats", channels, size);
      }
}

}  // namespace

void CheckCudaWarps() {
  TestDraws();
  TestWarps();
}

}  // namespace fslcore
