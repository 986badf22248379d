// SPDX-License-Identifier: MIT
// The tile of sums of products of tile.h by tensor cores: operands rounded as `precision` says, sums in
// float32.
#pragma once
#include "core/pairwise/metric.h"
#include "cuda/pairwise/tensor_cores.h"
#include "cuda/pairwise/tile.h"

namespace fslcore::cuda::pairwise {

// A number as its operand of a product is rounded. The two of 3xTF32 differ from the number by less than the
// last bit of a float32 or two, and so are not rounded.
template <Precision kPrecision>
__device__ inline float RoundedTo(float value) {
  if constexpr (kPrecision == Precision::kTf32) return __uint_as_float(ToTf32(value));
  if constexpr (kPrecision == Precision::kBfloat16) return __uint_as_float(ToBfloat16s(value, 0.0f) << 16);
  return value;
}

// Eight warps, 2 x 4 of them; a warp has 16 x 8 tiles of the tensor cores. Which k of memory is which of an
// instruction does not matter as long as it is the same for a and b: lane t of four takes 4t to 4t + 3 of a
// step's 16, which PlaceIn puts into different banks.
template <int kTileM, int kTileN, Precision kPrecision>
class TensorTile {
 public:
  static constexpr int kM = kTileM, kN = kTileN;
  static constexpr bool kWeighted = false;

  __device__ static float Rounded(float value) { return RoundedTo<kPrecision>(value); }

  __device__ TensorTile() {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    group_ = lane / 4, member_ = lane % 4;
    first_row_ = warp / 4 * (kM / 2), first_col_ = warp % 4 * (kN / 4);
  }

  // Adds the products of half a step, in bfloat16 of a whole step at once.
  template <int kHalf>
  __device__ void Multiply(const float* a, const float* b) {
    if constexpr (kPrecision != Precision::kBfloat16 || kHalf == 1) {
      Operand<2> y[kColTiles];
      FSLCORE_UNROLL
      for (int n = 0; n < kColTiles; ++n) {
        FSLCORE_UNROLL
        for (int i = 0; i < 2; ++i) y[n].Set(i, Numbers<kN>(b, first_col_ + n * 8 + group_, 2 * kHalf, i));
      }
      FSLCORE_UNROLL
      for (int m = 0; m < kRowTiles; ++m) {
        // Loads of one m are not to be moved before the products of another: registers are few.
        if constexpr (kPrecision == Precision::k3xTf32) __syncwarp();
        Operand<4> x;
        FSLCORE_UNROLL
        for (int i = 0; i < 4; ++i)
          x.Set(i, Numbers<kM>(a, first_row_ + m * 16 + i % 2 * 8 + group_, 2 * kHalf, i / 2));
        FSLCORE_UNROLL
        for (int n = 0; n < kColTiles; ++n) Add(x, y[n], sums_[m][n]);
      }
    }
  }

  // visit(row, column, sum) for this thread's sums.
  template <class Visit>
  __device__ void ForEach(const Visit& visit) const {
    FSLCORE_UNROLL
    for (int m = 0; m < kRowTiles; ++m) {
      FSLCORE_UNROLL
      for (int n = 0; n < kColTiles; ++n) {
        FSLCORE_UNROLL
        for (int i = 0; i < 4; ++i)
          visit(first_row_ + m * 16 + group_ + i / 2 * 8, first_col_ + n * 8 + member_ * 2 + i % 2,
                sums_[m][n][i]);
      }
    }
  }

  // Puts the sums into shared memory, rows `stride` apart.
  __device__ void Deposit(float* to, int stride) const {
    ForEach([&](int row, int col, float sum) { to[row * stride + col] = sum; });
  }

 private:
  static constexpr int kRowTiles = kM / 32, kColTiles = kN / 32;

  // What a lane holds of a row or column in one register: one number of TF32 or two of bfloat16.
  struct Few {
    float first, second;
  };

  // Of this lane's four k of a step: TF32 takes number first + i, bfloat16 numbers 2 i and 2 i + 1.
  template <int kSide>
  __device__ Few Numbers(const float* tile, int row, int first, int i) const {
    if constexpr (kPrecision == Precision::kBfloat16)
      return {tile[PlaceIn<kSide>(4 * member_ + 2 * i, row)],
              tile[PlaceIn<kSide>(4 * member_ + 2 * i + 1, row)]};
    return {tile[PlaceIn<kSide>(4 * member_ + first + i, row)], 0.0f};
  }

  template <int kRegisters>
  struct Operand {
    uint32_t numbers[kRegisters], rest[kRegisters];

    __device__ void Set(int i, Few few) {
      if constexpr (kPrecision == Precision::kBfloat16) {
        numbers[i] = ToBfloat16s(few.first, few.second);
      } else {
        numbers[i] = ToTf32(few.first);
        if constexpr (kPrecision == Precision::k3xTf32)
          rest[i] = ToTf32(few.first - __uint_as_float(numbers[i]));
      }
    }
  };

  __device__ static void Add(const Operand<4>& x, const Operand<2>& y, float (&sums)[4]) {
    if constexpr (kPrecision == Precision::kBfloat16) {
      MultiplyBfloat16(sums, x.numbers, y.numbers);
    } else {
      if constexpr (kPrecision == Precision::k3xTf32) {  // the small ones first
        MultiplyTf32(sums, x.rest, y.numbers);
        MultiplyTf32(sums, x.numbers, y.rest);
      }
      MultiplyTf32(sums, x.numbers, y.numbers);
    }
  }

  int group_, member_, first_row_, first_col_;
  float sums_[kRowTiles][kColTiles][4] = {};
};

}  // namespace fslcore::cuda::pairwise
