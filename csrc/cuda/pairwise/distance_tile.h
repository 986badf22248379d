// SPDX-License-Identifier: MIT
// A block's tile of the distance matrix of a batch with itself, summed in registers. Every pair is one chain
// of fused multiply-adds over its coordinates in their order: a distance has the same bits wherever it is
// computed, here or pair by pair, and for (a, b) as for (b, a).
#pragma once
#include <cstdint>

#include "core/pairwise/distance.h"
#include "cuda/launch.h"

namespace fslcore::cuda::mining {

constexpr int kTileRows = 64, kTileColumns = 128, kTileThreads = 128;
constexpr int kSlab = 8;     // coordinates that are in shared memory at a time
constexpr int kPerSide = 8;  // rows, and columns, of a thread

// A batch as its coordinates, one row of numbers for each, so that tiles are loaded as they lie. Rows and
// coordinates are filled up with zeros.
struct Columns {
  float* data;     // [depth, stride]
  float* squares;  // [stride] |x|^2; for cosine not read
  int64_t stride;  // rows, in whole tiles of columns
  int64_t depth;   // coordinates, in whole slabs, at least one

  Columns(Parts& parts, int64_t rows, int64_t dim)
      : stride(RoundUp(rows, kTileColumns)), depth(RoundUp(dim > 0 ? dim : 1, kSlab)) {
    data = parts.Take<float>(depth * stride);
    squares = parts.Take<float>(stride);
  }
};

// Two slabs: the next one is written while the other is read.
struct alignas(16) TileBuffers {
  float rows[2][kSlab][kTileRows];
  float columns[2][kSlab][kTileColumns];
};

// Rows and columns of a thread come in two groups of four, which one load reads. A warp is 4 threads high and
// 8 wide, so that its loads touch 64 and 128 bytes of shared memory.
__device__ inline int TileRow(int r) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  return r / 4 * (kTileRows / 2) + (warp / 2 * 4 + lane / 8) * 4 + r % 4;
}
__device__ inline int TileColumn(int c) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  return c / 4 * (kTileColumns / 2) + (warp % 2 * 8 + lane % 8) * 4 + c % 4;
}

// A thread's part of a slab, on its way from global to shared memory.
struct SlabPart {
  float4 rows, columns[2];
};

// What a thread moves of one slab after the other.
class SlabReader {
 public:
  __device__ SlabReader(const Columns& x, int64_t row, int64_t col)
      : stride_(x.stride),
        rows_(x.data + threadIdx.x / 16 * stride_ + row + threadIdx.x % 16 * 4),
        columns_(x.data + threadIdx.x / 32 * stride_ + col + threadIdx.x % 32 * 4) {}

  __device__ SlabPart Fetch() {
    const SlabPart part = {Four(rows_), {Four(columns_), Four(columns_ + 4 * stride_)}};
    rows_ += kSlab * stride_;
    columns_ += kSlab * stride_;
    return part;
  }
  __device__ static void Store(const SlabPart& part, int buffer, TileBuffers& buffers) {
    const unsigned t = threadIdx.x;
    Four(&buffers.rows[buffer][t / 16][t % 16 * 4]) = part.rows;
    Four(&buffers.columns[buffer][t / 32][t % 32 * 4]) = part.columns[0];
    Four(&buffers.columns[buffer][t / 32 + 4][t % 32 * 4]) = part.columns[1];
  }

 private:
  __device__ static const float4& Four(const float* at) { return *reinterpret_cast<const float4*>(at); }
  __device__ static float4& Four(float* at) { return *reinterpret_cast<float4*>(at); }

  const int64_t stride_;
  const float *rows_, *columns_;
};

// Four numbers of each of the two groups of a thread.
__device__ __forceinline__ void LoadGroups(const float* groups, int distance, float (&out)[kPerSide]) {
  FSLCORE_UNROLL
  for (int g = 0; g < 2; ++g) {
    const float4 four = *reinterpret_cast<const float4*>(groups + g * distance);
    out[4 * g] = four.x;
    out[4 * g + 1] = four.y;
    out[4 * g + 2] = four.z;
    out[4 * g + 3] = four.w;
  }
}

enum class Summed { kProducts, kSquaredDifferences };

template <Summed kSummed>
__device__ __forceinline__ float AddCoordinate(float a, float b, float sum) {
  if (kSummed == Summed::kProducts) return fmaf(a, b, sum);
  const float difference = a - b;
  return fmaf(difference, difference, sum);
}

// The sums over all coordinates for the tile at (row, col), multiples of the tile's sides. All threads of the
// block take part. The buffers may be used again at once.
template <Summed kSummed>
__device__ __forceinline__ void SumTile(const Columns& x, int64_t row, int64_t col, TileBuffers& buffers,
                                        float (&sums)[kPerSide][kPerSide]) {
  FSLCORE_UNROLL
  for (auto& of_row : sums) FSLCORE_UNROLL
  for (float& sum : of_row) sum = 0.0f;
  SlabReader reader(x, row, col);
  SlabReader::Store(reader.Fetch(), 0, buffers);
  __syncthreads();
  int buffer = 0;
  for (int64_t k = 0; k < x.depth; k += kSlab, buffer ^= 1) {
    const bool more = k + kSlab < x.depth;
    SlabPart next;
    if (more) next = reader.Fetch();
    FSLCORE_UNROLL
    for (int i = 0; i < kSlab; ++i) {
      float a[kPerSide], b[kPerSide];
      LoadGroups(&buffers.rows[buffer][i][TileRow(0)], kTileRows / 2, a);
      LoadGroups(&buffers.columns[buffer][i][TileColumn(0)], kTileColumns / 2, b);
      FSLCORE_UNROLL
      for (int r = 0; r < kPerSide; ++r) FSLCORE_UNROLL
      for (int c = 0; c < kPerSide; ++c) sums[r][c] = AddCoordinate<kSummed>(a[r], b[c], sums[r][c]);
    }
    if (more) SlabReader::Store(next, buffer ^ 1, buffers);
    __syncthreads();
  }
}

// The same sum for one pair.
template <Summed kSummed>
__device__ inline float SumPair(const Columns& x, int64_t a, int64_t b) {
  float sum = 0.0f;
  for (int64_t k = 0; k < x.depth; ++k)
    sum = AddCoordinate<kSummed>(x.data[k * x.stride + a], x.data[k * x.stride + b], sum);
  return sum;
}

// The distance of a pair by its product. `near` says that it must be evaluated again; also where what it was
// subtracted from overflows, or holds a NaN. squares = the sum of the pair's |x|^2.
template <Metric kMetric>
__device__ __forceinline__ float DistanceByProduct(float product, float squares, bool& near) {
  if (kMetric == Metric::kCosine) {  // of normalised rows
    const float distance = 1.0f - product;
    near = !(kNear < distance);
    return distance;
  }
  const float squared = fmaf(-2.0f, product, squares);
  near = !(kNear * squares < squared);
  return kMetric == Metric::kEuclidean ? sqrtf(squared) : squared;
}

}  // namespace fslcore::cuda::mining
