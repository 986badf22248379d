// SPDX-License-Identifier: MIT
// Images gathered on a GPU. A warp writes an image, or a part of one, tile after tile; each lane a few values
// next to each other, so that they leave in one store. Reading needs no other order: a tile of an image
// turned by an odd number of quarters is a few short pieces of a few rows in the store, of which the cache
// keeps what the neighbouring tiles want.
//
// Every product and every sum is rounded by itself, as in the core.
#include <algorithm>
#include <cmath>

#include "cuda/images/images.h"
#include "cuda/images/picked.h"
#include "cuda/launch.h"

namespace fslcore::cuda {
namespace {

constexpr int kWarp = 32, kWarps = 8, kThreads = kWarp * kWarps;
constexpr int kBlocks = 5;                // on a multiprocessor at least: 48 registers to a thread
constexpr int64_t kMostValues = 1 << 30;  // of an image, so that places around it are 32-bit numbers
constexpr int64_t kTilesToAWarp = 8;      // enough to hide how it finds its image
constexpr int64_t kWarpsToFill = 8192;    // about as many as a GPU holds at a time

struct Job {
  const uint8_t* store;
  int64_t count;                // of its images
  int height, width, channels;  // of an image there
  int out_height, out_width;
  float row_scale, col_scale;      // pixels there to a pixel here
  const int64_t *indices, *turns;  // turns may be null
  int64_t images, run;             // indices to one of the turns
  float scale, shift;
  float* out;
  int parts;  // to which an image is divided
};

__device__ Picked PickOf(const Job& job, int64_t image) {
  return Pick(Images{job.store, job.count, job.height, job.width, job.channels}, job.indices[image],
              job.turns ? job.turns[image / job.run] : 0);
}

// What a warp writes of an image: rows of `length` values in tiles of `down` by kWarp / down lanes.
struct View {
  int rows, length, down;
};

// Without resizing, an image whose rows follow one another in the store is one long row.
template <bool kResize, int kWide>
__device__ View ViewOf(const Job& job, const Picked& picked) {
  const int length = job.out_width * job.channels;
  if (!kResize && picked.row_step == job.width * picked.col_step) return {1, job.out_height * length, 1};
  return {job.out_height, length, kWide == 4 ? 8 : 4};
}

// The two neighbours of a place along an axis, and how far towards the second one it lies.
struct Taps {
  int first, second;
  float weight;
};

// The centre of place i is at (i + 1/2) in / out - 1/2; beyond the border both neighbours are the last.
__device__ Taps TapsOf(int i, float scale, int in) {
  const float centre = __fadd_rn(__fmul_rn(__fadd_rn(static_cast<float>(i), 0.5f), scale), -0.5f);
  const float below = floorf(centre);
  const int first = static_cast<int>(below), second = static_cast<int>(ceilf(centre));
  return {first > 0 ? first : 0, second < in - 1 ? second : in - 1, __fadd_rn(centre, -below)};
}

__device__ float Between(float first, float second, float weight) {
  return __fadd_rn(first, __fmul_rn(__fadd_rn(second, -first), weight));
}

// Bilinear interpolation: along the rows, then between them.
__device__ float Interpolated(const Job& job, const Picked& picked, const Taps& rows, int col, int channel) {
  const Taps cols = TapsOf(col, job.col_scale, job.width);
  const auto value = [&](int r, int c) {
    const int offset = (r * picked.row_step + c * picked.col_step) * job.channels + channel;
    return static_cast<float>(__ldg(picked.first + offset));
  };
  const float upper = Between(value(rows.first, cols.first), value(rows.first, cols.second), cols.weight);
  const float lower = Between(value(rows.second, cols.first), value(rows.second, cols.second), cols.weight);
  return Between(upper, lower, rows.weight);
}

template <int kWide>
struct Values {
  float of[kWide];
};

// Neighbours in a row of the view, from `at` on.
template <bool kResize, int kWide>
__device__ Values<kWide> Read(const Job& job, const Picked& picked, int row, int at) {
  Values<kWide> values;
  if (!picked.first) {
    for (float& value : values.of) value = NAN;
    return values;
  }
  int col = job.channels == 1 ? at : at / job.channels, channel = at - col * job.channels;
  if constexpr (kResize) {
    const Taps rows = TapsOf(row, job.row_scale, job.height);
    for (float& value : values.of) {
      value = Interpolated(job, picked, rows, col, channel);
      if (++channel == job.channels) channel = 0, ++col;
    }
  } else {
    const uint8_t* from =
        picked.first + (row * picked.row_step + col * picked.col_step) * job.channels + channel;
    const int to_next_pixel = (picked.col_step - 1) * job.channels + 1;
    for (float& value : values.of) {
      value = static_cast<float>(__ldg(from));
      const bool last = ++channel == job.channels;
      from += last ? to_next_pixel : 1;
      if (last) channel = 0;
    }
  }
  return values;
}

// The same in an image that is one long row as it lies in the store: four values in one load.
__device__ uchar4 ReadWord(const Picked& picked, int at) {
  return __ldg(reinterpret_cast<const uchar4*>(picked.first + at));
}

__device__ float Scaled(const Job& job, float value) {
  return __fadd_rn(__fmul_rn(value, job.scale), job.shift);
}

__device__ void Write(const Job& job, const Values<1>& values, float* to) { *to = Scaled(job, values.of[0]); }

__device__ void Write(const Job& job, const Values<4>& values, float* to) {
  *reinterpret_cast<float4*>(to) = make_float4(Scaled(job, values.of[0]), Scaled(job, values.of[1]),
                                               Scaled(job, values.of[2]), Scaled(job, values.of[3]));
}

__device__ void Write(const Job& job, uchar4 word, float* to) {
  Write(job,
        Values<4>{{static_cast<float>(word.x), static_cast<float>(word.y), static_cast<float>(word.z),
                   static_cast<float>(word.w)}},
        to);
}

// The share of tiles that is the warp's, kTogether at a time: all of them are read before one is written.
template <int kWide, int kTogether, class ReadAt>
__device__ void WriteTiles(const Job& job, const View& view, int part, float* out, const ReadAt& read) {
  const int lanes_across = kWarp / view.down, width = lanes_across * kWide;
  const int across = (view.length + width - 1) / width;
  const int tiles = across * ((view.rows + view.down - 1) / view.down);
  const int share = (tiles + job.parts - 1) / job.parts, begin = part * share;
  const int end = begin + share < tiles ? begin + share : tiles;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int lane_row = lane / lanes_across, lane_at = lane % lanes_across * kWide;
  int tile_row = begin / across, tile_col = begin % across;
  for (int tile = begin; tile < end; tile += kTogether) {
    decltype(read(0, 0)) values[kTogether];
    int to[kTogether];  // -1 outside
    for (int k = 0; k < kTogether; ++k) {
      const int row = tile_row * view.down + lane_row, at = tile_col * width + lane_at;
      const bool inside = tile + k < end && row < view.rows && at < view.length;
      to[k] = inside ? row * view.length + at : -1;
      if (inside) values[k] = read(row, at);
      if (++tile_col == across) tile_col = 0, ++tile_row;
    }
    for (int k = 0; k < kTogether; ++k)
      if (to[k] >= 0) Write(job, values[k], out + to[k]);
  }
}

template <bool kResize, int kWide>
__global__ void __launch_bounds__(kThreads, kBlocks) Gather(const Job job) {
  const unsigned parts = static_cast<unsigned>(job.parts);
  const int part = static_cast<int>(blockIdx.x % parts);
  const int64_t image = static_cast<int64_t>(blockIdx.x / parts) * kWarps + threadIdx.x / kWarp;
  if (image >= job.images) return;
  const Picked picked = PickOf(job, image);
  const View view = ViewOf<kResize, kWide>(job, picked);
  float* const out = job.out + image * job.out_height * job.out_width * job.channels;
  if constexpr (!kResize && kWide == 4)
    if (picked.col_step == 1 && reinterpret_cast<uintptr_t>(picked.first) % 4 == 0)
      return WriteTiles<kWide, 4>(job, view, part, out, [&](int, int at) { return ReadWord(picked, at); });
  WriteTiles<kWide, kResize ? 1 : 2>(
      job, view, part, out, [&](int row, int at) { return Read<kResize, kWide>(job, picked, row, at); });
}

}  // namespace

std::string GatherImages(Stream stream, const Images& store, Vector<const int64_t> indices,
                         Vector<const int64_t> turns, const ImageChange& change, float* out) {
  const int64_t height = change.out_height(store.height), width = change.out_width(store.width);
  const int64_t row = width * store.channels, values = height * row;
  if (indices.size == 0 || values == 0) return "";
  if (std::max(values, store.pixels()) > kMostValues)
    return "gathering images on the GPU: an image may have " + std::to_string(kMostValues) +
           " values, received " + std::to_string(std::max(values, store.pixels()));

  const bool wide = row % 4 == 0 && reinterpret_cast<uintptr_t>(out) % sizeof(float4) == 0;
  const int64_t tiles =
      wide ? DivideUp(row, 16) * DivideUp(height, 8) : DivideUp(row, 8) * DivideUp(height, 4);
  const int64_t parts =
      std::max(DivideUp(tiles, kTilesToAWarp), std::min(tiles, DivideUp(kWarpsToFill, indices.size)));
  const auto narrow = [](int64_t size) { return static_cast<int>(size); };
  const auto ratio = [](int64_t in, int64_t to) { return static_cast<float>(in) / static_cast<float>(to); };
  const Job job = {store.data,
                   store.count,
                   narrow(store.height),
                   narrow(store.width),
                   narrow(store.channels),
                   narrow(height),
                   narrow(width),
                   ratio(store.height, height),
                   ratio(store.width, width),
                   indices.data,
                   turns.size > 0 ? turns.data : nullptr,
                   indices.size,
                   turns.size > 0 ? indices.size / turns.size : 1,
                   change.scale,
                   change.shift,
                   out,
                   narrow(parts)};
  const auto kernel = change.resizes() ? wide ? Gather<true, 4> : Gather<true, 1>
                      : wide           ? Gather<false, 4>
                                       : Gather<false, 1>;
  Launches launches(stream, "gathering images");
  launches.Run({DivideUp(indices.size, kWarps) * parts, kThreads}, kernel, job);
  return launches.problem();
}

}  // namespace fslcore::cuda
