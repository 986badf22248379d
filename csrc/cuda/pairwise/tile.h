// SPDX-License-Identifier: MIT
// A block's tile of sums over pairs, sum over k of pair(a(m, k), b(n, k)), for the pairwise matrices and
// their gradients: both operands pass through shared memory kTileDepth deep, double-buffered; each thread
// keeps its share of the sums in registers.
//
// In shared memory an operand lies as [k][row] with eight floats between every four k, so that all of these
// are free of bank conflicts: writing four consecutive k of a row (what a thread reads of a row-major
// matrix), writing four consecutive rows of a k, reading four consecutive rows of a k, and reading the
// fragments of the tensor cores (tensor_tile.h).
#pragma once
#include "core/arrays/views.h"
#include "core/pairwise/metric.h"
#include "cuda/launch.h"

#if defined(FSLCORE_CUDA_ON_CPU)
#define FSLCORE_UNROLL_BY(count)
#else
#define FSLCORE_PRAGMA(text) _Pragma(#text)
#define FSLCORE_UNROLL_BY(count) FSLCORE_PRAGMA(unroll(count))
#endif

namespace fslcore::cuda::pairwise {

constexpr int kTileThreads = 256;
constexpr int kTileDepth = 16;

// Where element (k, row) of an operand lies.
template <int kSide>
constexpr int PlaceIn(int k, int row) {
  return k * kSide + (k >> 2) * 8 + row;
}

template <int kSide>
constexpr int kOperandSize = PlaceIn<kSide>(kTileDepth, 0);

// Two buffers of the operands of a step; behind b is room for what else goes with each k.
template <int kM, int kN>
struct TileBuffers {
  float a[2][kOperandSize<kM>];
  float b[2][kOperandSize<kN> + kTileDepth];
};

inline bool IsAligned(const void* pointer, int64_t row_length) {
  return reinterpret_cast<uintptr_t>(pointer) % sizeof(float4) == 0 && row_length % 4 == 0;
}

// Four neighbours of which `left` are there, zeros behind them.
__device__ inline float4 LoadFew(const float* from, int left) {
  return make_float4(left > 0 ? from[0] : 0.0f, left > 1 ? from[1] : 0.0f, left > 2 ? from[2] : 0.0f,
                     left > 3 ? from[3] : 0.0f);
}

// A thread's share of an operand, four elements at a time on their way from a row-major matrix through
// registers to shared memory. Load fetches those of the next step, and Store puts them into a buffer.
//
// OperandByRows: the matrix has a row for each row of the tile. Rows from `last_row` on are filled with
// something, for their sums are not used; columns from `last_k` on with zeros.
template <int kSide>
class OperandByRows {
 public:
  static constexpr int kFours = kSide * kTileDepth / 4 / kTileThreads;
  float4 four[kFours];

  // Row `first_row` < last_row is row 0 of the tile, column first_k is the first that is loaded.
  __device__ OperandByRows(const float* data, int64_t cols, int64_t first_row, int64_t last_row,
                           int64_t first_k, int64_t last_k, bool aligned)
      : left_(static_cast<int>(last_k - first_k) - Depth()), aligned_(aligned) {
    FSLCORE_UNROLL
    for (int i = 0; i < kFours; ++i) {
      const int64_t row = first_row + Row(i);
      from_[i] = data + (row < last_row ? row : last_row - 1) * cols + first_k + Depth();
    }
  }

  __device__ void Load() {
    const bool whole = aligned_ && left_ >= 4;
    FSLCORE_UNROLL
    for (int i = 0; i < kFours; ++i) {
      four[i] = whole ? *reinterpret_cast<const float4*>(from_[i]) : LoadFew(from_[i], left_);
      from_[i] += kTileDepth;
    }
    left_ -= kTileDepth;
  }

  __device__ void Store(float* tile) const {
    FSLCORE_UNROLL
    for (int i = 0; i < kFours; ++i) {
      const int k = Depth(), row = Row(i);
      tile[PlaceIn<kSide>(k, row)] = four[i].x;
      tile[PlaceIn<kSide>(k + 1, row)] = four[i].y;
      tile[PlaceIn<kSide>(k + 2, row)] = four[i].z;
      tile[PlaceIn<kSide>(k + 3, row)] = four[i].w;
    }
  }

  // The place in the step of the first of four[i]; the others follow with greater k.
  __device__ static int Row(int i) { return static_cast<int>(threadIdx.x) / 4 + i * (kTileThreads / 4); }
  __device__ static int Depth() { return static_cast<int>(threadIdx.x) % 4 * 4; }

 private:
  const float* from_[kFours];
  int left_;
  bool aligned_;
};

// OperandByColumns: the matrix has a row for each k, and a column for each row of the tile; zeros outside.
template <int kSide>
class OperandByColumns {
 public:
  static constexpr int kFours = kSide * kTileDepth / 4 / kTileThreads;
  float4 four[kFours];

  __device__ OperandByColumns(const float* data, int64_t cols, int64_t first_row, int64_t last_row,
                              int64_t first_k, int64_t last_k, bool aligned)
      : from_(data + (first_k + Depth(0)) * cols + first_row + Row()),
        cols_(cols),
        left_(static_cast<int>(last_k - first_k) - Depth(0)),
        rows_left_(static_cast<int>(last_row - first_row) - Row()),
        whole_(aligned && rows_left_ >= 4) {}

  __device__ void Load() {
    FSLCORE_UNROLL
    for (int i = 0; i < kFours; ++i) {
      const bool there = left_ > Depth(i) - Depth(0);
      four[i] =
          there && whole_ ? *reinterpret_cast<const float4*>(from_) : LoadFew(from_, there ? rows_left_ : 0);
      from_ += kTileDepth / kFours * cols_;
    }
    left_ -= kTileDepth;
  }

  __device__ void Store(float* tile) const {
    FSLCORE_UNROLL
    for (int i = 0; i < kFours; ++i)
      *reinterpret_cast<float4*>(tile + PlaceIn<kSide>(Depth(i), Row())) = four[i];
  }

  // The place in the step of the first of four[i]; the others follow in greater rows.
  __device__ static int Row() { return static_cast<int>(threadIdx.x) % (kSide / 4) * 4; }
  __device__ static int Depth(int i) {
    return static_cast<int>(threadIdx.x) / (kSide / 4) + i * (kTileThreads * 4 / kSide);
  }

 private:
  const float* from_;
  int64_t cols_;
  int left_, rows_left_;
  bool whole_;
};

// Adds up `steps` steps of the operands a and b. Operands come from global memory in halves of a step, which
// spares registers, each while the products of a half are added up. One barrier a step: a buffer is written
// again only after the barrier behind its last reading. Ends behind a barrier, so the buffers may be used
// for something else.
template <class A, class B, class Tile>
__device__ void AddUpSteps(int steps, A& a, B& b, TileBuffers<Tile::kM, Tile::kN>& buffers, Tile& tile) {
  if (steps == 0) return;
  a.Load();
  b.Load();
  a.Store(buffers.a[0]);
  b.Store(buffers.b[0]);
  __syncthreads();
  for (int step = 0; step < steps; ++step) {
    const int now = step % 2, next = 1 - now;
    const bool more = step + 1 < steps;
    if (more) a.Load();
    tile.template Multiply<0>(buffers.a[now], buffers.b[now]);
    if (more) {
      a.Store(buffers.a[next]);
      b.Load();
    }
    tile.template Multiply<1>(buffers.a[now], buffers.b[now]);
    if (more) b.Store(buffers.b[next]);
    __syncthreads();
  }
}

// The place of a thread among 16 x 16. A warp is 4 x 8 of them: what its lanes read of either operand at a
// time is at most one line of shared memory.
struct ThreadPlace {
  int row, col;
  __device__ ThreadPlace() {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    row = warp / 2 * 4 + lane / 8;
    col = warp % 2 * 8 + lane % 8;
  }
};

// Element i of the float4s of a thread at `place`, of 16 threads along a side.
constexpr int TileRow(int place, int i) { return i / 4 * 64 + place * 4 + i % 4; }

template <int kSide>
__device__ void LoadFragment(const float* tile, int k, int place, float (&values)[kSide / 16]) {
  FSLCORE_UNROLL
  for (int i = 0; i < kSide / 16; i += 4) {
    const float4 four = *reinterpret_cast<const float4*>(tile + PlaceIn<kSide>(k, TileRow(place, i)));
    values[i] = four.x, values[i + 1] = four.y, values[i + 2] = four.z, values[i + 3] = four.w;
  }
}

// Sums in float32 by the ordinary units, in the order of k: (kM / 16) x (kN / 16) of them in each thread.
template <int kTileM, int kTileN, Pair kPair>
class PlainTile {
 public:
  static constexpr int kM = kTileM, kN = kTileN;
  static constexpr bool kWeighted = kPair == Pair::kWeightedAbsolute;

  // An operand as it is multiplied.
  __device__ static float Rounded(float value) { return value; }

  // Adds the pairs of half a step; the weights are behind b.
  template <int kHalf>
  __device__ void Multiply(const float* a, const float* b) {
    FSLCORE_UNROLL_BY(kUnrolled)
    for (int k = kHalf * kTileDepth / 2; k < (kHalf + 1) * kTileDepth / 2; ++k) {
      float x[kRows], y[kCols];
      LoadFragment<kM>(a, k, place_.row, x);
      LoadFragment<kN>(b, k, place_.col, y);
      const float weight = kWeighted ? b[kOperandSize<kN> + k] : 0.0f;
      FSLCORE_UNROLL
      for (int i = 0; i < kRows; ++i) {
        FSLCORE_UNROLL
        for (int j = 0; j < kCols; ++j) {
          float& sum = sums_[i][j];
          if constexpr (kPair == Pair::kProduct) sum = fmaf(x[i], y[j], sum);
          if constexpr (kPair == Pair::kAbsolute) sum += fabsf(x[i] - y[j]);
          if constexpr (kPair == Pair::kWeightedAbsolute) sum = fmaf(weight, fabsf(x[i] - y[j]), sum);
          if constexpr (kPair == Pair::kLargestAbsolute) {  // as integers, where a NaN is above all numbers
            const float difference = fabsf(x[i] - y[j]);
            sum = __float_as_uint(sum) < __float_as_uint(difference) ? difference : sum;
          }
        }
      }
    }
  }

  // visit(row, column, sum) for this thread's sums, column after column for each row, row after row.
  template <class Visit>
  __device__ void ForEach(const Visit& visit) const {
    FSLCORE_UNROLL
    for (int i = 0; i < kRows; ++i) {
      FSLCORE_UNROLL
      for (int j = 0; j < kCols; ++j) visit(TileRow(place_.row, i), TileRow(place_.col, j), sums_[i][j]);
    }
  }

  // Puts the sums into shared memory, rows `stride` apart.
  __device__ void Deposit(float* to, int stride) const {
    FSLCORE_UNROLL
    for (int i = 0; i < kRows; ++i) {
      FSLCORE_UNROLL
      for (int j = 0; j < kCols; j += 4)
        *reinterpret_cast<float4*>(to + TileRow(place_.row, i) * stride + TileRow(place_.col, j)) =
            make_float4(sums_[i][j], sums_[i][j + 1], sums_[i][j + 2], sums_[i][j + 3]);
    }
  }

 private:
  static constexpr int kRows = kM / 16, kCols = kN / 16;
  static constexpr int kUnrolled = kPair == Pair::kProduct ? 2 : 1;  // more would not fit the registers

  ThreadPlace place_;
  float sums_[kRows][kCols] = {};
};

}  // namespace fslcore::cuda::pairwise
