// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstring>

#include "core/random/philox.h"
#include "cuda/images/images.h"
#include "tests/cuda_check.h"
#include "tests/cuda_checks.h"
#include "tests/device_memory.h"

namespace fslcore {
namespace {

using Integers64 = std::vector<int64_t>;

std::vector<uint8_t> Bytes(int64_t size) {
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  PhiloxStream stream(1, 2, 3);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(stream.Next());
  return bytes;
}

// How many bytes the store, and how many floats the result, lie behind the alignment of the device's memory.
struct Offsets {
  int64_t store = 0, out = 0;
};

struct Case {
  int64_t count, height, width, channels;
  Integers64 indices, turns;
  ImageChange change = {};
  Offsets offsets = {};

  int64_t values() const { return change.out_height(height) * change.out_width(width) * channels; }
  int64_t images() const { return static_cast<int64_t>(indices.size()); }
};

std::vector<float> OnDevice(const Case& c, const std::vector<uint8_t>& bytes) {
  std::vector<uint8_t> behind(static_cast<size_t>(c.offsets.store), 77);
  behind.insert(behind.end(), bytes.begin(), bytes.end());
  const DeviceArray<uint8_t> store(behind);
  const DeviceArray<int64_t> indices(c.indices), turns(c.turns);
  const DeviceArray<float> out(c.images() * c.values() + c.offsets.out);
  const Images images = {store.get() + c.offsets.store, c.count, c.height, c.width, c.channels};
  const std::string problem =
      cuda::GatherImages(nullptr, images, {indices.get(), indices.size()}, {turns.get(), turns.size()},
                         c.change, out.get() + c.offsets.out);
  Expect(problem.empty(), "images on the device", c.height, c.width);
  Expect(out.intact() && store.intact() && indices.intact() && turns.intact(), "sentinels of images",
         c.height, c.width);
  std::vector<float> values = out.values();
  for (int64_t i = 0; i < c.offsets.out; ++i)
    Expect(std::isnan(values[static_cast<size_t>(i)]) || values[static_cast<size_t>(i)] < -1e30f,
           "nothing before the images", c.height, i);
  values.erase(values.begin(), values.begin() + c.offsets.out);
  return values;
}

bool IsRefused(const Case& c, size_t image) {
  const int64_t index = c.indices[image];
  const int64_t turn = c.turns.empty() ? 0 : c.turns[image / (c.indices.size() / c.turns.size())];
  return index < 0 || index >= c.count || turn < 0 || turn > 3 || (turn % 2 != 0 && c.height != c.width);
}

// Each image by itself, so that those refused do not stop the core.
void TestSame(const Case& c) {
  const auto bytes = Bytes(c.count * c.height * c.width * c.channels);
  const auto got = OnDevice(c, bytes);
  const auto values = static_cast<size_t>(c.values());
  const Images store = {bytes.data(), c.count, c.height, c.width, c.channels};
  for (size_t i = 0; i < c.indices.size(); ++i) {
    std::vector<float> want(values, NAN);
    const bool refused = IsRefused(c, i);
    const Vector<const int64_t> index = {&c.indices[i], 1};
    Vector<const int64_t> turn = {nullptr, 0};
    if (!c.turns.empty()) turn = {&c.turns[i / (c.indices.size() / c.turns.size())], 1};
    Expect(CheckGather(store, index, turn, c.change).empty() != refused, "refused by the core", c.height,
           static_cast<int64_t>(i));
    if (!refused) GatherImages({}, store, index, turn, c.change, want.data());
    bool same = true;
    for (size_t v = 0; v < values; ++v) {
      const float value = got[i * values + v];
      same &= refused ? std::isnan(value) : std::memcmp(&value, &want[v], sizeof value) == 0;
    }
    Expect(same, refused ? "a refused image is NaN" : "the core's image", c.height * 1000 + c.width,
           static_cast<int64_t>(i));
  }
}

const ImageChange kScaled = {0, 0, 1.0f / 255.0f, -0.5f};

void TestTurns() {
  const Integers64 indices = {3, 0, 4, 4, 1, 2, 0, 3}, turns = {0, 1, 2, 3};
  for (int64_t channels : {1, 3, 4, 5})
    for (int64_t size : {1, 2, 3, 8, 12, 28, 33})
      TestSame({5, size, size, channels, indices, turns, kScaled});
  for (int64_t channels : {1, 2, 3, 4})
    for (int64_t width : {1, 3, 4, 16, 31}) TestSame({5, 6, width, channels, indices, {2, 0, 2, 2}, kScaled});
  TestSame({5, 28, 28, 1, indices, {}, kScaled});
  TestSame({5, 28, 28, 1, indices, {3}, {}});
  TestSame({5, 28, 28, 1, indices, {0, 1, 2, 3, 3, 2, 1, 0}, {}});
  TestSame({2, 105, 105, 1, {1, 0}, {1, 2}, kScaled});
  TestSame({2, 105, 105, 1, {1, 0}, {0, 3}, kScaled});
  TestSame({2, 84, 84, 3, {1, 0}, {2, 1}, kScaled});
}

void TestResize() {
  const Integers64 indices = {2, 0, 1, 1}, turns = {0, 1, 2, 3};
  for (int64_t channels : {1, 3})
    for (const ImageChange& change : {ImageChange{28, 28, 1.0f / 255.0f, 0.0f},
                                      {12, 12, 2.0f, 0.1f},
                                      {3, 20, 0.3f, -1.0f},
                                      {1, 1},
                                      {7, 5}})
      for (int64_t size : {1, 2, 12, 29}) TestSame({3, size, size, channels, indices, turns, change});
  TestSame({3, 9, 14, 3, indices, {0, 2, 2, 0}, {11, 16, 0.7f, 0.2f}});
  TestSame({2, 105, 105, 1, {1, 0}, {1, 0}, {28, 28, 1.0f / 255.0f, 0.0f}});
}

void TestSizesAndAlignment() {
  for (int64_t images : {0, 1, 2, 7, 8, 9, 33}) {
    Integers64 indices;
    for (int64_t i = 0; i < images; ++i) indices.push_back(i * 5 % 3);
    TestSame({3, 4, 4, 1, indices, {}, kScaled});
  }
  const Integers64 indices = {2, 0, 1, 1};
  for (const Offsets& offsets : {Offsets{0, 1}, {1, 0}, {3, 3}, {2, 0}, {0, 2}}) {
    TestSame({3, 8, 8, 1, indices, {0, 1, 2, 3}, kScaled, offsets});
    TestSame({3, 8, 8, 3, indices, {0, 1, 2, 3}, {4, 4, 0.5f, 1.0f}, offsets});
  }
  TestSame({3, 4, 0, 1, indices, {}, kScaled});
  TestSame({3, 4, 4, 0, indices, {}, kScaled});
  // More images than there are warps to fill, so that a warp writes several tiles of an odd number.
  Integers64 many;
  for (int64_t i = 0; i < 3000; ++i) many.push_back(i % 3);
  TestSame({3, 12, 60, 1, many, {}, kScaled});
  TestSame({3, 12, 63, 1, many, {0, 2}, kScaled});
}

void TestRefusals() {
  const Integers64 indices = {0, -1, 2, 3, int64_t{1} << 32, INT64_MIN, INT64_MAX, 1};
  TestSame({3, 8, 8, 1, indices, {}, kScaled});
  TestSame({3, 5, 7, 1, indices, {}, kScaled});
  TestSame({3, 8, 8, 1, indices, {}, {4, 4}});
  const Integers64 good = {0, 1, 2, 0, 1, 2};
  for (const Integers64& turns : {Integers64{0, 4, 1, -1, int64_t{1} << 33, 2}, {-4, 3, INT64_MIN}}) {
    TestSame({3, 8, 8, 1, good, turns, kScaled});
    TestSame({3, 8, 4, 2, good, turns, kScaled});
    TestSame({3, 8, 4, 2, good, turns, {4, 4}});
  }
  TestSame({0, 8, 8, 1, good, {}, kScaled});
  TestSame({0, 0, 0, 1, good, {}, {4, 4}});

  const Images large = {nullptr, 1, 1 << 20, 1 << 20, 1};
  Expect(!cuda::GatherImages(nullptr, large, {nullptr, 1}, {nullptr, 0}, {}, nullptr).empty(),
         "too large an image", 0, 0);
}

}  // namespace

void CheckCudaImages() {
  TestTurns();
  TestResize();
  TestSizesAndAlignment();
  TestRefusals();
}

}  // namespace fslcore
