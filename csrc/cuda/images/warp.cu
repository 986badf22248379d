// SPDX-License-Identifier: MIT
// Images warped on a GPU, a thread to each pixel of a result. The four pixels around a place are read through
// the cache, and those outside of the image are not read.
//
// Every product and every sum is rounded by itself, as in the core.
#include <cmath>

#include "cuda/images/picked.h"
#include "cuda/images/warp.h"
#include "cuda/threads.h"

namespace fslcore::cuda {
namespace {

struct Job {
  int64_t images;
  int height, width, channels, out_height, out_width;
  const float* transforms;
  bool beyond;  // places outside of the image have the value of the fill
  float fill, scale, shift;
  float* out;
};

// The pixels of image i, each value by its row, column and channel.
struct FloatReader {
  FloatImages images;

  struct Image {
    const float* data;
    int64_t width, channels;

    __device__ bool there() const { return true; }
    __device__ float operator()(int r, int c, int b) const {
      return __ldg(data + (r * width + c) * channels + b);
    }
  };
  __device__ Image operator()(int64_t i) const {
    return {images.data + i * images.height * images.width * images.channels, images.width, images.channels};
  }
};

struct StoreReader {
  Images store;
  const int64_t *indices, *turns;  // turns may be null
  int64_t run;                     // indices to one of the turns

  struct Image {
    Picked picked;
    int64_t channels;

    __device__ bool there() const { return picked.first != nullptr; }
    __device__ float operator()(int r, int c, int b) const {
      const int64_t at =
          static_cast<int64_t>(r) * picked.row_step + static_cast<int64_t>(c) * picked.col_step;
      return static_cast<float>(__ldg(picked.first + at * channels + b));
    }
  };
  __device__ Image operator()(int64_t i) const {
    return {Pick(store, indices[i], turns ? turns[i / run] : 0), store.channels};
  }
};

__device__ float Held(float v, float least, float most) {
  const float above = v > least ? v : least;
  return above < most ? above : most;
}

template <class Reader>
__global__ void Warped(const Job job, const Reader reader) {
  const int64_t pixels = static_cast<int64_t>(job.out_height) * job.out_width, i = ThreadOfGrid();
  if (i >= job.images * pixels) return;
  const int64_t image = i / pixels;
  const int row = static_cast<int>(i % pixels) / job.out_width, col = static_cast<int>(i % job.out_width);
  float* const out = job.out + i * job.channels;
  const float* const t = job.transforms + image * kTransform;
  const auto pixel = reader(image);
  bool possible = pixel.there();
  for (int k = 0; k < kTransform; ++k) possible &= t[k] * 0.0f == 0.0f;  // not NaN, not infinite
  if (!possible) {
    for (int b = 0; b < job.channels; ++b) out[b] = NAN;
    return;
  }
  const float c = static_cast<float>(col), r = static_cast<float>(row);
  const float least = job.beyond ? -1.0f : 0.0f;
  const float most_x = static_cast<float>(job.beyond ? job.width : job.width - 1);
  const float most_y = static_cast<float>(job.beyond ? job.height : job.height - 1);
  const float x = Held(t[0] * c + t[1] * r + t[2], least, most_x);
  const float y = Held(t[3] * c + t[4] * r + t[5], least, most_y);
  const float x0 = floorf(x), y0 = floorf(y);
  const float of_left = (x0 + 1.0f) - x, of_right = x - x0, of_upper = (y0 + 1.0f) - y, of_lower = y - y0;
  const int left = static_cast<int>(x0), upper = static_cast<int>(y0);
  for (int b = 0; b < job.channels; ++b) {
    const auto value = [&](int at_row, int at_col) {
      const bool inside = at_row >= 0 && at_row < job.height && at_col >= 0 && at_col < job.width;
      return inside ? pixel(at_row, at_col, b) : job.fill;
    };
    const float above = of_left * value(upper, left) + of_right * value(upper, left + 1);
    const float below = of_left * value(upper + 1, left) + of_right * value(upper + 1, left + 1);
    out[b] = (of_upper * above + of_lower * below) * job.scale + job.shift;
  }
}

template <class Reader>
std::string Run(Stream stream, int64_t images, int64_t height, int64_t width, int64_t channels,
                const float* transforms, const Warp& warp, const Reader& reader, float* out) {
  const auto narrow = [](int64_t size) { return static_cast<int>(size); };
  const Job job = {images,
                   narrow(height),
                   narrow(width),
                   narrow(channels),
                   narrow(warp.out_height(height)),
                   narrow(warp.out_width(width)),
                   transforms,
                   warp.fill == Fill::kConstant,
                   warp.fill_value,
                   warp.scale,
                   warp.shift,
                   out};
  Launches launches(stream, "warping images");
  launches.Run(OneThreadEach(images * job.out_height * job.out_width), Warped<Reader>, job, reader);
  return launches.problem();
}

}  // namespace

std::string WarpImages(Stream stream, const FloatImages& images, const float* transforms, const Warp& warp,
                       float* out) {
  return Run(stream, images.count, images.height, images.width, images.channels, transforms, warp,
             FloatReader{images}, out);
}

std::string GatherWarped(Stream stream, const Images& store, Vector<const int64_t> indices,
                         Vector<const int64_t> turns, const float* transforms, const Warp& warp, float* out) {
  const StoreReader reader = {store, indices.data, turns.size > 0 ? turns.data : nullptr,
                              turns.size > 0 ? indices.size / turns.size : 1};
  return Run(stream, indices.size, store.height, store.width, store.channels, transforms, warp, reader, out);
}

}  // namespace fslcore::cuda
