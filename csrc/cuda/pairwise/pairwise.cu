// SPDX-License-Identifier: MIT
// Pairwise matrices on a GPU. A block computes a tile of the output: sums in registers (tile.h,
// tensor_tile.h), then, through shared memory, whatever the metric does with them, so that each warp finishes
// and writes whole lines. If y is x, only tiles on or above the diagonal are computed, and each is written
// twice.
//
// On an H200 the sums take 2 rows * cols * dim / 67e12 s in float32 (half of that if y is x), twice as long
// for the two instructions of manhattan and weighted_manhattan; by tensor cores / 494e12 s in TF32, three
// times that in 3xTF32, / 989e12 s in bfloat16. Writing the output takes 4 rows * cols / 4.3e12 s, which is
// longer than the sums in TF32 if dim is less than 230.
#include "cuda/pairwise/library_product.h"
#include "cuda/pairwise/pairwise.h"
#include "cuda/pairwise/pairwise_finish.h"
#include "cuda/pairwise/pairwise_rows.h"
#include "cuda/pairwise/pairwise_tiles.h"
#include "cuda/pairwise/tensor_tile.h"
#include "cuda/pairwise/tile.h"
#include "cuda/pairwise/weighted_rows.h"

namespace fslcore::cuda {

using namespace pairwise;

namespace {

// A tile of 128 x 128 does twice the arithmetic per byte of shared memory of a tile of 64 x 64. It is used
// where there are enough tiles for the GPU's 132 multiprocessors.
constexpr int64_t kEnoughTiles = 132;

// Pairs from which on a library is asked for products by tensor cores: four tiles for each multiprocessor.
constexpr int64_t kEnoughForLibrary = 4 * kEnoughTiles * kLargeTile * kLargeTile;

template <class Tile>
union PairwiseMemory {
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

__device__ TilePlace PlaceOfBlock(const PairwiseArguments& g, int side) {
  if (g.symmetric) return UpperTile(blockIdx.x);
  const auto across = static_cast<unsigned>((g.cols + side - 1) / side);
  return {static_cast<int>(blockIdx.x / across), static_cast<int>(blockIdx.x % across)};
}

template <class Tile>
__device__ void AddUp(const PairwiseArguments& g, TilePlace place, PairwiseMemory<Tile>& memory, Tile& tile) {
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

template <class Tile>
__device__ void FinishTile(const PairwiseArguments& g, TilePlace place, float* sums) {
  constexpr int kShare = Tile::kN / 32, kStride = PairwiseMemory<Tile>::kStride;
  const int64_t first_row = int64_t{place.row} * Tile::kM;
  const RowShare<kShare> share(g, int64_t{place.col} * Tile::kN);
  for (int r = static_cast<int>(threadIdx.x) / 32; r < Tile::kM && first_row + r < g.rows;
       r += kTileThreads / 32) {
    const int64_t row = first_row + r;
    float* of_row = sums + r * kStride + Lane();
    float values[kShare];
    FSLCORE_UNROLL
    for (int q = 0; q < kShare; ++q) values[q] = of_row[32 * q];
    share.Finish(g, row, values);
    FSLCORE_UNROLL
    for (int q = 0; q < kShare; ++q) {
      if (g.symmetric) of_row[32 * q] = values[q];
      if (share.IsWanted(g, row, q)) g.out[row * g.cols + share.Col(q)] = values[q];
    }
  }
}

// Finishes sums that are in `out` already; a block finishes 128 x 128 pairs.
__global__ void __launch_bounds__(kTileThreads) FinishProducts(PairwiseArguments g) {
  constexpr int kShare = kLargeTile / 32;
  const TilePlace place = PlaceOfBlock(g, kLargeTile);
  const int64_t first_row = int64_t{place.row} * kLargeTile;
  const RowShare<kShare> share(g, int64_t{place.col} * kLargeTile);
  for (int r = static_cast<int>(threadIdx.x) / 32; r < kLargeTile && first_row + r < g.rows;
       r += kTileThreads / 32) {
    float* out = g.out + (first_row + r) * g.cols;
    float values[kShare];
    FSLCORE_UNROLL
    for (int q = 0; q < kShare; ++q) values[q] = share.Col(q) < g.cols ? out[share.Col(q)] : 0.0f;
    share.Finish(g, first_row + r, values);
    FSLCORE_UNROLL
    for (int q = 0; q < kShare; ++q)
      if (share.Col(q) < g.cols) out[share.Col(q)] = values[q];
  }
}

// What is above the diagonal also goes below it.
template <class Tile>
__device__ void MirrorTile(const PairwiseArguments& g, TilePlace place, const float* sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t first_row = int64_t{place.row} * Tile::kM, first_col = int64_t{place.col} * Tile::kN;
  for (int c = warp; c < Tile::kN && first_col + c < g.cols; c += kTileThreads / 32) {
    const int64_t col = first_col + c;
    FSLCORE_UNROLL
    for (int r = lane; r < Tile::kM; r += 32)
      if (first_row + r < col)
        g.out[col * g.cols + first_row + r] = sums[r * PairwiseMemory<Tile>::kStride + c];
  }
}

template <class Tile>
__global__ void __launch_bounds__(kTileThreads, 2) PairwiseTiles(PairwiseArguments g) {
  auto& memory = *SharedMemory<PairwiseMemory<Tile>>();
  const TilePlace place = PlaceOfBlock(g, Tile::kN);
  Tile tile;
  AddUp(g, place, memory, tile);
  tile.Deposit(memory.sums, PairwiseMemory<Tile>::kStride);
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
void RunTiles(Launches& launches, const PairwiseArguments& g) {
  const int64_t tiles = Tiles(g.rows, g.cols, Tile::kM, g.symmetric);
  launches.Run({tiles, kTileThreads, sizeof(PairwiseMemory<Tile>)}, PairwiseTiles<Tile>, g);
}

template <int kSide>
void RunTilesOf(Launches& launches, Precision precision, const PairwiseArguments& g) {
  switch (IsProductMetric(g.metric) ? precision : Precision::kFloat32) {
    case Precision::kFloat32:
      return WithPair(g.metric, [&](auto pair) {
        RunTiles<PlainTile<kSide, kSide, decltype(pair)::value>>(launches, g);
      });
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

template <Precision kPrecision>
__global__ void RoundNumbers(const float* from, int64_t n, float* to) {
  const int64_t i = ThreadOfGrid();
  if (i < n) to[i] = RoundedTo<kPrecision>(from[i]);
}

// Rows as tensor cores take them. The library would round them too, in its own way: of rows that are rounded
// already it has nothing to choose, and their lengths are those that the distances are made with.
Matrix<const float> Rounded(Launches& launches, Precision precision, Matrix<const float> rows, float* to) {
  const int64_t n = rows.rows * rows.cols;
  launches.Run(
      OneThreadEach(n),
      precision == Precision::kTf32 ? RoundNumbers<Precision::kTf32> : RoundNumbers<Precision::kBfloat16>,
      rows.data, n, to);
  return {to, rows.rows, rows.cols};
}

// Normalised rows are of length 1 but for rounding; the products of rounded ones are subtracted from what
// the rounded ones have.
bool NeedsScales(const PairwiseKernel& kernel) {
  if (kernel.metric == Metric::kCosine)
    return kernel.precision == Precision::kTf32 || kernel.precision == Precision::kBfloat16;
  return kernel.metric == Metric::kSqeuclidean || kernel.metric == Metric::kEuclidean;
}

// One side's rows as they are multiplied, and what products are subtracted from.
struct PairwiseSide {
  Matrix<const float> rows;
  float *unit = nullptr, *scales = nullptr;

  PairwiseSide(Parts& parts, const PairwiseKernel& kernel, Matrix<const float> x) : rows(x) {
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

// Products by tensor cores are what a library does better than the tiles above, if they are many. It need not
// give pairs and their mirror images the same bits, so y must not be x.
bool UsesLibrary(const PairwiseKernel& kernel, Matrix<const float> x, Matrix<const float> y) {
  const bool by_tensor_cores =
      kernel.precision == Precision::kTf32 || kernel.precision == Precision::kBfloat16;
  return by_tensor_cores && IsProductMetric(kernel.metric) && !IsSame(x, y) &&
         x.rows * y.rows >= kEnoughForLibrary && x.cols >= kTileDepth && !ProductLibrary().empty();
}

struct LibraryMemory {
  float *x, *y;  // rounded
  void* workspace;

  LibraryMemory(Parts& parts, Matrix<const float> x_rows, Matrix<const float> y_rows)
      : x(parts.Take<float>(x_rows.rows * x_rows.cols)),
        y(parts.Take<float>(y_rows.rows * y_rows.cols)),
        workspace(parts.Take<char>(kLibraryWorkspace)) {}
};

PairwiseArguments ArgumentsOf(const PairwiseKernel& kernel, const PairwiseSide& x, const PairwiseSide& y,
                              bool symmetric, float* out) {
  PairwiseArguments g = {};
  g.metric = kernel.metric;
  g.activation = kernel.activation;
  g.x = x.rows.data, g.y = y.rows.data;
  g.rows = x.rows.rows, g.cols = y.rows.rows, g.dim = x.rows.cols;
  g.x_scales = x.scales, g.y_scales = y.scales;
  g.weights = kernel.weights.data, g.bias = kernel.bias;
  g.symmetric = symmetric;
  g.x_aligned = IsAligned(g.x, g.dim), g.y_aligned = IsAligned(g.y, g.dim);
  g.out = out;
  return g;
}

}  // namespace

int64_t PairwiseWorkspace(const PairwiseKernel& kernel, Matrix<const float> x, Matrix<const float> y) {
  Parts parts(nullptr);
  PairwiseSide(parts, kernel, x);
  if (!IsSame(x, y)) PairwiseSide(parts, kernel, y);
  return parts.bytes() + (UsesLibrary(kernel, x, y) ? PairwiseByLibraryWorkspace(x, y) : 0);
}

std::string PairwiseInTiles(int side, Stream stream, const PairwiseKernel& kernel, Matrix<const float> x,
                            Matrix<const float> y, void* workspace, float* out) {
  Launches launches(stream, "pairwise");
  if (x.rows == 0 || y.rows == 0) return launches.problem();
  const bool symmetric = IsSame(x, y);
  Parts parts(workspace);
  PairwiseSide x_side(parts, kernel, x);
  x_side.Prepare(launches, kernel);
  PairwiseSide y_side = x_side;
  if (!symmetric) {
    y_side = PairwiseSide(parts, kernel, y);
    y_side.Prepare(launches, kernel);
  }
  const PairwiseArguments g = ArgumentsOf(kernel, x_side, y_side, symmetric, out);
  side == kLargeTile ? RunTilesOf<kLargeTile>(launches, kernel.precision, g)
                     : RunTilesOf<kSmallTile>(launches, kernel.precision, g);
  return launches.problem();
}

int64_t PairwiseByLibraryWorkspace(Matrix<const float> x, Matrix<const float> y) {
  Parts parts(nullptr);
  LibraryMemory(parts, x, y);
  return parts.bytes();
}

std::string PairwiseByLibrary(Stream stream, const PairwiseKernel& kernel, Matrix<const float> x,
                              Matrix<const float> y, void* workspace, float* out) {
  Launches launches(stream, "pairwise by a library");
  if (x.rows == 0 || y.rows == 0) return launches.problem();
  Parts parts(workspace);
  PairwiseSide x_side(parts, kernel, x), y_side(parts, kernel, y);
  x_side.Prepare(launches, kernel);
  y_side.Prepare(launches, kernel);
  const LibraryMemory memory(parts, x, y);
  LibraryProduct(launches, kernel.precision, Rounded(launches, kernel.precision, x_side.rows, memory.x),
                 Rounded(launches, kernel.precision, y_side.rows, memory.y), memory.workspace, out);
  const PairwiseArguments g = ArgumentsOf(kernel, x_side, y_side, /*symmetric=*/false, out);
  if (kernel.metric != Metric::kDot)
    launches.Run({Tiles(g.rows, g.cols, kLargeTile, false), kTileThreads}, FinishProducts, g);
  return launches.problem();
}

std::string Pairwise(Stream stream, const PairwiseKernel& kernel, Matrix<const float> x,
                     Matrix<const float> y, void* workspace, float* out) {
  if (UsesLibrary(kernel, x, y)) return PairwiseByLibrary(stream, kernel, x, y, workspace, out);
  const bool enough = Tiles(x.rows, y.rows, kLargeTile, IsSame(x, y)) >= kEnoughTiles;
  return PairwiseInTiles(enough ? kLargeTile : kSmallTile, stream, kernel, x, y, workspace, out);
}

}  // namespace fslcore::cuda
