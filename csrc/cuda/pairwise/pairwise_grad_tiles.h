// SPDX-License-Identifier: MIT
// A block's part of the gradient of a pairwise matrix: coefficients, made of `grad` and `out` on their way to
// shared memory, times the rows of the other side, or the signs of differences from them.
#pragma once
#include "cuda/pairwise/tensor_tile.h"
#include "cuda/pairwise/tile.h"

namespace fslcore::cuda::pairwise {

constexpr int kSignSide = 64;  // of the tiles of gradients made of signs

struct GradArguments {
  Metric metric;
  Activation activation;
  const float *grad, *out;   // [x.rows, y.rows]
  int64_t cols;              // y.rows
  const float *own, *other;  // the rows that the gradient is for, and those that they are paired with
  int64_t rows, depth, dim;  // of `own` and of `other`
  int64_t down, across, depth_of_split;
  bool pairs_aligned, other_aligned;
  const float* weights;  // weighted_manhattan
  float* to;             // [splits, rows, dim]
  float* totals;         // [down * splits, dim], the sums of a(r, c) |x[r] - y[c]|
};

__host__ __device__ constexpr bool IsOfDifferences(Metric metric) {
  return metric == Metric::kSqeuclidean || metric == Metric::kEuclidean;
}

__host__ __device__ constexpr bool NeedsOut(Metric metric, Activation activation) {
  return metric == Metric::kEuclidean || activation == Activation::kSigmoid;
}

// a(r, c); 0 if both are 0, as behind the edges.
__device__ inline float Coefficient(Metric metric, Activation activation, float grad, float out) {
  if (metric == Metric::kSqeuclidean) return grad + grad;
  if (metric == Metric::kEuclidean) return out == 0.0f ? 0.0f : grad / out;
  if (metric == Metric::kCosine) return 0.0f - grad;
  return activation == Activation::kSigmoid ? grad * (out * (1.0f - out)) : grad;
}

// The part of the gradient that a block is about.
struct BlockPlace {
  int64_t row, col, split, first_k, last_k;

  __device__ BlockPlace(const GradArguments& g, int row_side, int col_side) {
    const int64_t index = blockIdx.x;
    col = index % g.across * col_side;
    row = index / g.across % g.down * row_side;
    split = index / g.across / g.down;
    first_k = split * g.depth_of_split;
    last_k = first_k + g.depth_of_split < g.depth ? first_k + g.depth_of_split : g.depth;
  }
  __device__ int steps() const { return static_cast<int>((last_k - first_k + kTileDepth - 1) / kTileDepth); }
};

// The coefficients as an operand: kByColumns if the gradient is for y, whose rows are the columns of `grad`.
template <class Tile, bool kByColumns, bool kNeedsOut>
class Coefficients {
 public:
  // The rows of `sums` below: where the coefficients lie by columns, eight threads or more share a column.
  static constexpr int kShares = kByColumns ? kTileThreads * 4 / Tile::kM : 1;

  __device__ Coefficients(const GradArguments& g, const BlockPlace& place)
      : metric_(g.metric),
        activation_(g.activation),
        grad_(g.grad, g.cols, place.row, g.rows, place.first_k, place.last_k, g.pairs_aligned),
        out_(g.out, g.cols, place.row, g.rows, place.first_k, place.last_k, g.pairs_aligned) {}

  __device__ void Load() {
    grad_.Load();
    if constexpr (kNeedsOut) out_.Load();
  }

  __device__ void Store(float* tile) {
    FSLCORE_UNROLL
    for (int i = 0; i < Operand::kFours; ++i) {
      float4 &a = grad_.four[i], out = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if constexpr (kNeedsOut) out = out_.four[i];
      a.x = Finished(a.x, out.x), a.y = Finished(a.y, out.y);
      a.z = Finished(a.z, out.z), a.w = Finished(a.w, out.w);
      if constexpr (kByColumns)
        sums_[0] += a.x, sums_[1] += a.y, sums_[2] += a.z, sums_[3] += a.w;
      else
        sums_[i] += (a.x + a.y) + (a.z + a.w);
    }
    grad_.Store(tile);
  }

  // The sums over k of the coefficients that went through this thread, [kShares, kM] with those of the
  // others; they are then to be added up.
  __device__ void DepositSums(float (&to)[kShares][Tile::kM]) const {
    const int thread = static_cast<int>(threadIdx.x);
    if constexpr (kByColumns) {
      FSLCORE_UNROLL
      for (int j = 0; j < 4; ++j) to[thread / (Tile::kM / 4)][Operand::Row() + j] = sums_[j];
    } else {
      FSLCORE_UNROLL
      for (int i = 0; i < Operand::kFours; ++i) {
        float sum = sums_[i];  // of the four threads that share a row
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        if (thread % 4 == 0) to[0][Operand::Row(i)] = sum;
      }
    }
  }

 private:
  using Operand = std::conditional_t<kByColumns, OperandByColumns<Tile::kM>, OperandByRows<Tile::kM>>;

  __device__ float Finished(float grad, float out) const {
    return Tile::Rounded(Coefficient(metric_, activation_, grad, out));
  }

  Metric metric_;
  Activation activation_;
  Operand grad_, out_;
  float sums_[4] = {};
};

// Rows of the other side: columns of the gradient.
template <int kSide>
__device__ OperandByColumns<kSide> OtherRows(const GradArguments& g, const BlockPlace& place) {
  return {g.other, g.dim, place.col, g.dim, place.first_k, place.last_k, g.other_aligned};
}

template <class Tile, bool kByColumns>
union ProductMemory {
  TileBuffers<Tile::kM, Tile::kN> operands;
  float sums[Coefficients<Tile, kByColumns, false>::kShares][Tile::kM];
};

template <class Tile, bool kByColumns, bool kNeedsOut>
__global__ void __launch_bounds__(kTileThreads, 2) ProductGrad(GradArguments g) {
  auto& memory = *SharedMemory<ProductMemory<Tile, kByColumns>>();
  const BlockPlace place(g, Tile::kM, Tile::kN);
  Coefficients<Tile, kByColumns, kNeedsOut> coefficients(g, place);
  OperandByColumns<Tile::kN> other = OtherRows<Tile::kN>(g, place);
  Tile tile;
  AddUpSteps(place.steps(), coefficients, other, memory.operands, tile);

  coefficients.DepositSums(memory.sums);
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < Tile::kM)
    for (int share = 1; share < coefficients.kShares; ++share)
      memory.sums[0][thread] += memory.sums[share][thread];
  __syncthreads();
  tile.ForEach([&](int row, int col, float sum) {
    const int64_t r = place.row + row, d = place.col + col;
    if (r >= g.rows || d >= g.dim) return;
    const float* own = g.own + r * g.dim + d;
    g.to[(place.split * g.rows + r) * g.dim + d] =
        IsOfDifferences(g.metric) ? fmaf(Tile::Rounded(*own), memory.sums[0][row], -sum) : sum;
  });
}

__device__ inline bool IsFinite(float value) { return fabsf(value) < INFINITY; }

// A thread's 4 x 4 sums of a(r, c) sign(own[r] - other[c]), and by column those of a(r, c) |own[r] -
// other[c]|.
template <bool kTotals>
struct SignTile {
  ThreadPlace place;
  int rows = 4;  // of the four, those that are there
  float own[4][4];
  float sums[4][4] = {}, totals[4] = {};

  // Returns whether all of `own` are finite.
  __device__ bool LoadOwn(const GradArguments& g, const BlockPlace& block) {
    bool finite = true;
    const int64_t left = g.rows - block.row - TileRow(place.row, 0);
    rows = left < 4 ? static_cast<int>(left) : 4;
    FSLCORE_UNROLL
    for (int i = 0; i < 4; ++i) {
      FSLCORE_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int64_t r = block.row + TileRow(place.row, i), d = block.col + TileRow(place.col, j);
        own[i][j] = r < g.rows && d < g.dim ? g.own[r * g.dim + d] : 0.0f;
        finite &= IsFinite(own[i][j]);
      }
    }
    return finite;
  }

  // A difference of finite numbers is no NaN, which spares testing each.
  template <bool kFinite>
  __device__ void Add(const float* a, const float* b) {
    FSLCORE_UNROLL
    for (int k = 0; k < kTileDepth; ++k) {
      float coefficients[4], other[4];
      LoadFragment<kSignSide>(a, k, place.row, coefficients);
      LoadFragment<kSignSide>(b, k, place.col, other);
      if constexpr (kTotals) {
        FSLCORE_UNROLL
        for (int i = 0; i < 4; ++i) coefficients[i] = i < rows ? coefficients[i] : 0.0f;
      }
      FSLCORE_UNROLL
      for (int i = 0; i < 4; ++i) {
        FSLCORE_UNROLL
        for (int j = 0; j < 4; ++j) {
          const float difference = own[i][j] - other[j];
          float term =
              __uint_as_float(__float_as_uint(coefficients[i]) ^ (__float_as_uint(difference) & 0x80000000u));
          if (!kFinite && difference != difference) term = difference;
          if (difference != 0.0f) {  // whatever the coefficient is
            sums[i][j] += term;
            if (kTotals) totals[j] = fmaf(term, difference, totals[j]);
          }
        }
      }
    }
  }
};

union SignMemory {
  TileBuffers<kSignSide, kSignSide> operands;
  float totals[16][kSignSide];
};

template <class Operand>
__device__ bool AreFinite(const Operand& operand) {
  bool finite = true;
  FSLCORE_UNROLL
  for (int i = 0; i < Operand::kFours; ++i) {
    const float4 four = operand.four[i];
    finite &= IsFinite(four.x) && IsFinite(four.y) && IsFinite(four.z) && IsFinite(four.w);
  }
  return finite;
}

template <bool kByColumns, bool kNeedsOut, bool kTotals>
__global__ void __launch_bounds__(kTileThreads, 2) SignGrad(GradArguments g) {
  using Tile = PlainTile<kSignSide, kSignSide, Pair::kProduct>;
  auto& memory = *SharedMemory<SignMemory>();
  auto& operands = memory.operands;
  const BlockPlace place(g, kSignSide, kSignSide);
  Coefficients<Tile, kByColumns, kNeedsOut> coefficients(g, place);
  OperandByColumns<kSignSide> other = OtherRows<kSignSide>(g, place);
  SignTile<kTotals> tile;
  const bool own_finite = tile.LoadOwn(g, place);

  // As AddUpSteps; the barrier also tells whether there is anything in the next step that is not finite.
  bool special = false;
  for (int step = -1, steps = place.steps(); step < steps; ++step) {
    const int now = step & 1, next = 1 - now;
    const bool more = step + 1 < steps;
    if (more) {
      coefficients.Load();
      other.Load();
    }
    if (step >= 0) {
      if (special)
        tile.template Add<false>(operands.a[now], operands.b[now]);
      else
        tile.template Add<true>(operands.a[now], operands.b[now]);
    }
    if (more) {
      coefficients.Store(operands.a[next]);
      other.Store(operands.b[next]);
    }
    special = __syncthreads_or(!own_finite || (more && !AreFinite(other))) != 0;
  }

  FSLCORE_UNROLL
  for (int i = 0; i < 4; ++i) {
    FSLCORE_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int64_t r = place.row + TileRow(tile.place.row, i), d = place.col + TileRow(tile.place.col, j);
      if (r < g.rows && d < g.dim)
        g.to[(place.split * g.rows + r) * g.dim + d] =
            g.weights ? tile.sums[i][j] * g.weights[d] : tile.sums[i][j];
    }
  }
  if constexpr (kTotals) {
    FSLCORE_UNROLL
    for (int j = 0; j < 4; ++j) memory.totals[tile.place.row][TileRow(tile.place.col, j)] = tile.totals[j];
    __syncthreads();
    const int d = static_cast<int>(threadIdx.x);
    if (d >= kSignSide || place.col + d >= g.dim) return;
    float total = 0.0f;
    for (int i = 0; i < 16; ++i) total += memory.totals[i][d];
    g.totals[(place.split * g.down + place.row / kSignSide) * g.dim + place.col + d] = total;
  }
}

}  // namespace fslcore::cuda::pairwise
