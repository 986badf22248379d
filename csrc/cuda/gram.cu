// SPDX-License-Identifier: MIT
// Gram matrices on a GPU. A block computes a tile of the output: sums in registers (tile.h, tensor_tile.h),
// then, through shared memory, whatever the metric does with them, so that each warp finishes and writes
// whole lines. If y is x, only tiles on or above the diagonal are computed, and each is written twice.
//
// On an H200 the sums take 2 rows * cols * dim / 67e12 s in float32 (half of that if y is x), twice as long
// for the two instructions of manhattan and weighted_manhattan; by tensor cores / 494e12 s in TF32, three
// times that in 3xTF32, / 989e12 s in bfloat16. Writing the output takes 4 rows * cols / 4.3e12 s, which is
// longer than the sums in TF32 if dim is less than 230.
#include "cuda/gram.h"
#include "cuda/gram_rows.h"
#include "cuda/gram_tiles.h"
#include "cuda/tensor_tile.h"
#include "cuda/tile.h"

namespace fslcore::cuda {

using namespace gram;

namespace {

// A pair whose distance is below this share of what it was subtracted from is evaluated again, coordinate by
// coordinate: it has lost seven bits there, and all of them for equal rows.
constexpr float kNear = 1.0f / 128.0f;

// Tiles of 128 x 128 do twice the arithmetic of those of 64 x 64 for what they read of shared memory, if
// there are enough of them for the GPU's 132 multiprocessors.
constexpr int64_t kEnoughTiles = 132;

struct GramArguments {
  Metric metric;
  Activation activation;
  const float *x, *y;  // normalised for cosine
  int64_t rows, cols, dim;
  const float *x_scales, *y_scales;  // what products are subtracted from; null for 0, for cosine 0.5
  const float *weights, *bias;
  bool symmetric;  // y is x
  bool x_aligned, y_aligned;
  float* out;
};

template <class Tile>
union GramMemory {
  static constexpr int kStride = Tile::kN + 4;
  TileBuffers<Tile::kM, Tile::kN> operands;
  float sums[Tile::kM * kStride];
};

struct TilePlace {  // counted in tiles
  int row, col;
};

// Of a square of tiles those on and above the diagonal, column after column.
__device__ TilePlace UpperTile(int64_t index) {
  auto col = static_cast<int64_t>((sqrt(8.0 * static_cast<double>(index) + 1.0) - 1.0) / 2.0);
  while (col * (col + 1) / 2 > index) --col;
  while ((col + 1) * (col + 2) / 2 <= index) ++col;
  return {static_cast<int>(index - col * (col + 1) / 2), static_cast<int>(col)};
}

__device__ TilePlace PlaceOfBlock(const GramArguments& g, int side) {
  if (g.symmetric) return UpperTile(blockIdx.x);
  const auto across = static_cast<unsigned>((g.cols + side - 1) / side);
  return {static_cast<int>(blockIdx.x / across), static_cast<int>(blockIdx.x % across)};
}

// Rows of y, and the weights of the step behind them.
template <int kSide>
class WeightedRows : public OperandByRows<kSide> {
 public:
  __device__ WeightedRows(const GramArguments& g, int64_t first_row)
      : OperandByRows<kSide>(g.y, g.dim, first_row, g.cols, 0, g.dim, g.y_aligned),
        weights_(g.weights),
        left_(static_cast<int>(g.dim)) {}

  __device__ void Load() {
    OperandByRows<kSide>::Load();
    const auto k = static_cast<int>(threadIdx.x);
    weight_ = k < kTileDepth && k < left_ ? weights_[k] : 0.0f;
    weights_ += kTileDepth, left_ -= kTileDepth;
  }

  __device__ void Store(float* tile) const {
    OperandByRows<kSide>::Store(tile);
    if (threadIdx.x < kTileDepth) tile[kOperandSize<kSide> + threadIdx.x] = weight_;
  }

 private:
  const float* weights_;
  int left_;
  float weight_ = 0.0f;
};

template <class Tile>
__device__ void AddUp(const GramArguments& g, TilePlace place, GramMemory<Tile>& memory, Tile& tile) {
  const int64_t row = int64_t{place.row} * Tile::kM, col = int64_t{place.col} * Tile::kN;
  const auto steps = static_cast<int>(DivideUp(g.dim, kTileDepth));
  OperandByRows<Tile::kM> a(g.x, g.dim, row, g.rows, 0, g.dim, g.x_aligned);
  if constexpr (Tile::kWeighted) {
    WeightedRows<Tile::kN> b(g, col);
    AddUpSteps(steps, a, b, memory.operands, tile);
  } else {
    OperandByRows<Tile::kN> b(g.y, g.dim, col, g.cols, 0, g.dim, g.y_aligned);
    AddUpSteps(steps, a, b, memory.operands, tile);
  }
}

__device__ bool CanBeNear(Metric metric) {
  return metric == Metric::kSqeuclidean || metric == Metric::kEuclidean || metric == Metric::kCosine;
}

__device__ float ScaleOf(const GramArguments& g, const float* scales, int64_t i) {
  if (scales) return scales[i];
  return g.metric == Metric::kCosine ? 0.5f : 0.0f;
}

// The metric of a pair by its sum; `near` if it must be evaluated again, also where what the sum is
// subtracted from overflows, or holds a NaN.
__device__ float Finished(const GramArguments& g, float sum, float scales, bool& near) {
  near = false;
  switch (g.metric) {
    case Metric::kSqeuclidean:
    case Metric::kEuclidean:
      sum = fmaf(-2.0f, sum, scales);
      near = !(kNear * scales < sum);
      return g.metric == Metric::kEuclidean ? sqrtf(sum) : sum;
    case Metric::kCosine:
      // Half of |u|^2 + |v|^2, which is 1 but for the rounding of u and v. A zero row is at distance 1.
      sum = sum == 0.0f ? 1.0f : scales - sum;
      near = !(kNear < sum);
      return sum;
    case Metric::kWeightedManhattan:
      if (g.bias) sum += *g.bias;
      return g.activation == Activation::kSigmoid ? 1.0f / (1.0f + expf(-sum)) : sum;
    default:
      return sum;
  }
}

// By a whole warp, coordinate by coordinate; the same in all lanes.
__device__ float Exact(const GramArguments& g, int64_t row, int64_t col) {
  const float *x = g.x + row * g.dim, *y = g.y + col * g.dim;
  const float squared = WarpSum(LaneSum(g.dim, [x, y](int64_t d, float sum) {
    const float difference = x[d] - y[d];
    return fmaf(difference, difference, sum);
  }));
  return g.metric == Metric::kEuclidean ? sqrtf(squared)
         : g.metric == Metric::kCosine  ? 0.5f * squared
                                        : squared;
}

// Lane l has columns l, l + 32, ... of its warp's rows.
template <class Tile>
__device__ void FinishTile(const GramArguments& g, TilePlace place, float* sums) {
  constexpr int kShare = Tile::kN / 32, kStride = GramMemory<Tile>::kStride;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t first_row = int64_t{place.row} * Tile::kM, first_col = int64_t{place.col} * Tile::kN;
  float y_scales[kShare];
  FSLCORE_UNROLL
  for (int q = 0; q < kShare; ++q) {
    const int64_t col = first_col + lane + 32 * q;
    y_scales[q] = col < g.cols ? ScaleOf(g, g.y_scales, col) : 0.0f;
  }
  for (int r = warp; r < Tile::kM && first_row + r < g.rows; r += kTileThreads / 32) {
    const int64_t row = first_row + r;
    const float x_scale = ScaleOf(g, g.x_scales, row);
    float values[kShare];
    unsigned near = 0;
    FSLCORE_UNROLL
    for (int q = 0; q < kShare; ++q) {
      const int64_t col = first_col + lane + 32 * q;
      bool again;
      values[q] = Finished(g, sums[r * kStride + lane + 32 * q], x_scale + y_scales[q], again);
      if (again && col < g.cols && (!g.symmetric || col >= row)) near |= 1u << q;
    }
    if (CanBeNear(g.metric) && __any_sync(~0u, near != 0)) {
      FSLCORE_UNROLL
      for (int q = 0; q < kShare; ++q)
        for (unsigned lanes = __ballot_sync(~0u, near >> q & 1u); lanes != 0; lanes &= lanes - 1) {
          const int which = __ffs(static_cast<int>(lanes)) - 1;
          const float exact = Exact(g, row, first_col + which + 32 * q);
          if (lane == which) values[q] = exact;
        }
    }
    FSLCORE_UNROLL
    for (int q = 0; q < kShare; ++q) {
      const int64_t col = first_col + lane + 32 * q;
      if (g.symmetric) sums[r * kStride + lane + 32 * q] = values[q];
      if (col < g.cols && (!g.symmetric || col >= row)) g.out[row * g.cols + col] = values[q];
    }
  }
}

// What is above the diagonal also goes below it.
template <class Tile>
__device__ void MirrorTile(const GramArguments& g, TilePlace place, const float* sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t first_row = int64_t{place.row} * Tile::kM, first_col = int64_t{place.col} * Tile::kN;
  for (int c = warp; c < Tile::kN && first_col + c < g.cols; c += kTileThreads / 32) {
    const int64_t col = first_col + c;
    FSLCORE_UNROLL
    for (int r = lane; r < Tile::kM; r += 32)
      if (first_row + r < col) g.out[col * g.cols + first_row + r] = sums[r * GramMemory<Tile>::kStride + c];
  }
}

template <class Tile>
__global__ void __launch_bounds__(kTileThreads, 2) GramTiles(GramArguments g) {
  auto& memory = *SharedMemory<GramMemory<Tile>>();
  const TilePlace place = PlaceOfBlock(g, Tile::kN);
  Tile tile;
  AddUp(g, place, memory, tile);
  tile.Deposit(memory.sums, GramMemory<Tile>::kStride);
  __syncthreads();
  FinishTile<Tile>(g, place, memory.sums);
  if (!g.symmetric) return;
  __syncthreads();
  MirrorTile<Tile>(g, place, memory.sums);
}

int64_t Tiles(int64_t rows, int64_t cols, int64_t side, bool symmetric) {
  const int64_t down = DivideUp(rows, side), across = DivideUp(cols, side);
  return symmetric ? down * (down + 1) / 2 : down * across;
}

template <class Tile>
void RunTiles(Launches& launches, const GramArguments& g) {
  const int64_t tiles = Tiles(g.rows, g.cols, Tile::kM, g.symmetric);
  launches.Run({tiles, kTileThreads, sizeof(GramMemory<Tile>)}, GramTiles<Tile>, g);
}

template <int kSide>
void RunTilesOf(Launches& launches, Precision precision, const GramArguments& g) {
  if (g.metric == Metric::kManhattan) return RunTiles<PlainTile<kSide, kSide, Pair::kAbsolute>>(launches, g);
  if (g.metric == Metric::kWeightedManhattan)
    return RunTiles<PlainTile<kSide, kSide, Pair::kWeightedAbsolute>>(launches, g);
  switch (precision) {
    case Precision::kFloat32:
      return RunTiles<PlainTile<kSide, kSide, Pair::kProduct>>(launches, g);
    case Precision::kTf32:
      return RunTiles<TensorTile<kSide, kSide, Precision::kTf32>>(launches, g);
    case Precision::k3xTf32:
      return RunTiles<TensorTile<kSide, kSide, Precision::k3xTf32>>(launches, g);
    case Precision::kBfloat16:
      return RunTiles<TensorTile<kSide, kSide, Precision::kBfloat16>>(launches, g);
  }
}

void RunSquareRows(Launches& launches, Precision precision, Matrix<const float> x, float factor,
                   float* scales) {
  const auto kernel = precision == Precision::kTf32       ? SquareRows<Precision::kTf32>
                      : precision == Precision::kBfloat16 ? SquareRows<Precision::kBfloat16>
                                                          : SquareRows<Precision::kFloat32>;
  launches.Run(OneWarpEach(x.rows), kernel, x.data, x.rows, x.cols, factor, scales);
}

// Normalised rows are of length 1 but for rounding; the products of rounded ones are subtracted from what
// the rounded ones have.
bool NeedsScales(const PairwiseKernel& kernel) {
  if (kernel.metric == Metric::kCosine)
    return kernel.precision == Precision::kTf32 || kernel.precision == Precision::kBfloat16;
  return kernel.metric == Metric::kSqeuclidean || kernel.metric == Metric::kEuclidean;
}

// One side's rows as they are multiplied, and what products are subtracted from.
struct GramSide {
  Matrix<const float> rows;
  float *unit = nullptr, *scales = nullptr;

  GramSide(Parts& parts, const PairwiseKernel& kernel, Matrix<const float> x) : rows(x) {
    if (kernel.metric == Metric::kCosine) unit = parts.Take<float>(x.rows * x.cols);
    if (NeedsScales(kernel)) scales = parts.Take<float>(x.rows);
  }

  void Prepare(Launches& launches, const PairwiseKernel& kernel) {
    const bool cosine = kernel.metric == Metric::kCosine;
    if (cosine) {
      launches.Run(OneWarpEach(rows.rows), NormaliseRows<false>, rows.data, rows.rows, rows.cols, unit,
                   nullptr);
      rows.data = unit;
    }
    if (NeedsScales(kernel)) RunSquareRows(launches, kernel.precision, rows, cosine ? 0.5f : 1.0f, scales);
  }
};

}  // namespace

int64_t PairwiseWorkspace(const PairwiseKernel& kernel, Matrix<const float> x, Matrix<const float> y) {
  Parts parts(nullptr);
  GramSide(parts, kernel, x);
  if (!IsSame(x, y)) GramSide(parts, kernel, y);
  return parts.bytes();
}

std::string PairwiseInTiles(int side, Stream stream, const PairwiseKernel& kernel, Matrix<const float> x,
                            Matrix<const float> y, void* workspace, float* out) {
  Launches launches(stream, "pairwise");
  if (x.rows == 0 || y.rows == 0) return launches.problem();
  const bool symmetric = IsSame(x, y);
  Parts parts(workspace);
  GramSide x_side(parts, kernel, x);
  x_side.Prepare(launches, kernel);
  GramSide y_side = x_side;
  if (!symmetric) {
    y_side = GramSide(parts, kernel, y);
    y_side.Prepare(launches, kernel);
  }
  GramArguments g = {};
  g.metric = kernel.metric;
  g.activation = kernel.activation;
  g.x = x_side.rows.data, g.y = y_side.rows.data;
  g.rows = x.rows, g.cols = y.rows, g.dim = x.cols;
  g.x_scales = x_side.scales, g.y_scales = y_side.scales;
  g.weights = kernel.weights.data, g.bias = kernel.bias;
  g.symmetric = symmetric;
  g.x_aligned = IsAligned(g.x, g.dim), g.y_aligned = IsAligned(g.y, g.dim);
  g.out = out;
  side == kLargeTile ? RunTilesOf<kLargeTile>(launches, kernel.precision, g)
                     : RunTilesOf<kSmallTile>(launches, kernel.precision, g);
  return launches.problem();
}

std::string Pairwise(Stream stream, const PairwiseKernel& kernel, Matrix<const float> x,
                     Matrix<const float> y, void* workspace, float* out) {
  const bool enough = Tiles(x.rows, y.rows, kLargeTile, IsSame(x, y)) >= kEnoughTiles;
  return PairwiseInTiles(enough ? kLargeTile : kSmallTile, stream, kernel, x, y, workspace, out);
}

}  // namespace fslcore::cuda
