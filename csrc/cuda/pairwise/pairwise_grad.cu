// SPDX-License-Identifier: MIT
// The gradients of pairwise matrices on a GPU. core/pairwise/pairwise_grad.cc has the mathematics: dx is the
// product of the coefficients a(r, c) = d loss / d (the sum inside the metric) with the rows of y, and dy
// that of their transpose with the rows of x, or for the manhattan metrics the same with signs of
// differences. Each is a product of its own (pairwise_grad_tiles.h).
//
// Where there are few tiles of a gradient, the pairs of each are split among blocks, in a way that depends
// on the shape alone; what they find is added up in one order.
//
// On an H200 the products take 4 rows * cols * dim / 67e12 s in float32, and reading `grad` (and `out`,
// where it is needed) twice 8 (or 16) rows * cols / 4.3e12 s. A sign takes four instructions: the gradient
// of manhattan is of 8 rows * cols * dim / 33.5e12 s.
#include <algorithm>

#include "cuda/pairwise/pairwise.h"
#include "cuda/pairwise/pairwise_grad_tiles.h"
#include "cuda/pairwise/pairwise_rows.h"

namespace fslcore::cuda {

using namespace pairwise;

namespace {

constexpr int64_t kBlocks = 2 * 132;  // that fill the GPU
constexpr int64_t kLeastDepth = 256;  // of a share of the pairs of a tile
constexpr int64_t kBiasBlocks = 512, kBiasShare = 4096;

// How one side's gradient [rows, dim], sums over `depth` pairs, is shared out among blocks.
struct Shares {
  int64_t down, across;  // tiles
  int64_t depth_of_split, splits;

  Shares(int64_t rows, int64_t dim, int64_t depth, int64_t side)
      : down(DivideUp(rows, side)), across(DivideUp(dim, side)) {
    const int64_t tiles = std::max<int64_t>(1, down * across);
    const int64_t wanted = std::min(DivideUp(kBlocks, tiles), DivideUp(depth, kLeastDepth));
    depth_of_split = RoundUp(DivideUp(depth, std::max<int64_t>(1, wanted)), kTileDepth);
    splits = depth == 0 ? 1 : DivideUp(depth, depth_of_split);
  }
  int64_t blocks() const { return down * across * splits; }
};

// out[i] = the sum of from[copy, i].
__global__ void AddCopies(const float* from, int64_t copies, int64_t n, float* out) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kTileThreads + threadIdx.x;
  if (i >= n) return;
  float sum = 0.0f;
  for (int64_t copy = 0; copy < copies; ++copy) sum += from[copy * n + i];
  out[i] = sum;
}

// The core's ProjectRows: the gradient with respect to normalised rows becomes that with respect to the
// rows.
__global__ void ProjectRows(const float* unit, const float* norms, int64_t rows, int64_t dim,
                            float* gradient) {
  const int64_t row = WarpOfGrid();
  if (row >= rows) return;
  const float *u = unit + row * dim, norm = norms[row];
  float* g = gradient + row * dim;
  const float along = WarpSum(LaneSum(dim, [u, g](int64_t d, float sum) { return fmaf(u[d], g[d], sum); }));
  for (int64_t d = threadIdx.x % 32; d < dim; d += 32)
    g[d] = norm == 0.0f ? 0.0f : (g[d] - u[d] * along) / norm;
}

// The gradient of a metric that depends on one coordinate of each pair, the first where |own - other| = out.
// A warp has a row of `own` and a share of its pairs; each coordinate is one lane's.
template <bool kByColumns>
__global__ void LargestGrad(GradArguments g) {
  const int64_t index = WarpOfGrid(), row = index % g.rows, split = index / g.rows;
  const int64_t first_k = split * g.depth_of_split;
  const int64_t last_k = first_k + g.depth_of_split < g.depth ? first_k + g.depth_of_split : g.depth;
  if (split > 0 && first_k >= g.depth) return;  // no such share
  const float* own = g.own + row * g.dim;
  float* to = g.to + index * g.dim;
  for (int64_t d = Lane(); d < g.dim; d += 32) to[d] = 0.0f;
  for (int64_t k = first_k; k < last_k; ++k) {
    const int64_t pair = kByColumns ? k * g.cols + row : row * g.cols + k;
    const float *other = g.other + k * g.dim, out = g.out[pair];
    for (int64_t first = 0; out != 0.0f && first < g.dim; first += 32) {
      const int64_t d = first + Lane();
      const float difference = d < g.dim ? own[d] - other[d] : 0.0f;
      const unsigned found = __ballot_sync(kWholeWarp, fabsf(difference) == out);
      if (out != out && d < g.dim) to[d] = out;
      if (found == 0) continue;
      if (Lane() == __ffs(static_cast<int>(found)) - 1)
        to[d] += difference < 0.0f ? -g.grad[pair] : g.grad[pair];
      break;
    }
  }
}

struct BiasArguments {
  Metric metric;
  Activation activation;
  const float *grad, *out;
  int64_t pairs;
  double* sums;  // one for each block
};

// The sum over the block, in thread 0.
__device__ double BlockSum(double value) {
  auto* of_warps = SharedMemory<double>();
  value = WarpSum(value);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
  __syncthreads();
  double sum = 0.0;
  for (int warp = 0; warp < kTileThreads / 32; ++warp) sum += of_warps[warp];
  return sum;
}

__global__ void SumCoefficients(BiasArguments bias) {
  double sum = 0.0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kTileThreads + threadIdx.x; i < bias.pairs;
       i += static_cast<int64_t>(gridDim.x) * kTileThreads)
    sum += Coefficient(bias.metric, bias.activation, bias.grad[i],
                       NeedsOut(bias.metric, bias.activation) ? bias.out[i] : 0.0f);
  sum = BlockSum(sum);
  if (threadIdx.x == 0) bias.sums[blockIdx.x] = sum;
}

__global__ void SumOfBlocks(const double* sums, int64_t count, float* out) {
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < count; i += kTileThreads) sum += sums[i];
  sum = BlockSum(sum);
  if (threadIdx.x == 0) *out = static_cast<float>(sum);
}

int64_t BiasBlocks(int64_t pairs) { return std::min(kBiasBlocks, DivideUp(pairs, kBiasShare)); }

// Large tiles where a gradient has enough rows and columns for them; large tiles in 3xTF32 would not fit the
// registers.
int64_t TileSide(const PairwiseKernel& kernel, int64_t rows, int64_t dim) {
  const bool fits = IsProductMetric(kernel.metric) && kernel.precision != Precision::k3xTf32;
  return fits && rows > 64 && dim > 64 ? 128 : 64;
}

Shares SharesOf(const PairwiseKernel& kernel, Matrix<const float> own, Matrix<const float> other) {
  return Shares(own.rows, own.cols, other.rows, TileSide(kernel, own.rows, own.cols));
}

struct GradMemory {
  float *unit_x = nullptr, *unit_y = nullptr, *x_norms = nullptr, *y_norms = nullptr;
  float *copies, *totals;  // of one side at a time; of dx
  double* bias_sums;

  GradMemory(Parts& parts, const PairwiseKernel& kernel, Matrix<const float> x, Matrix<const float> y) {
    if (kernel.metric == Metric::kCosine) {
      unit_x = parts.Take<float>(x.rows * x.cols);
      unit_y = parts.Take<float>(y.rows * y.cols);
      x_norms = parts.Take<float>(x.rows);
      y_norms = parts.Take<float>(y.rows);
    }
    const Shares of_x = SharesOf(kernel, x, y), of_y = SharesOf(kernel, y, x);
    const auto copied = [](const Shares& shares, Matrix<const float> rows) {
      return shares.splits > 1 ? shares.splits * rows.rows * rows.cols : 0;
    };
    copies = parts.Take<float>(std::max(copied(of_x, x), copied(of_y, y)));
    const bool signs = !IsProductMetric(kernel.metric);
    totals = parts.Take<float>(signs ? of_x.down * of_x.splits * x.cols : 0);
    bias_sums = parts.Take<double>(BiasBlocks(x.rows * y.rows));
  }
};

template <bool kByColumns, bool kNeedsOut>
void RunSigns(Launches& launches, int64_t blocks, const GradArguments& g) {
  const Grid grid = {blocks, kTileThreads, sizeof(SignMemory)};
  launches.Run(grid,
               g.totals ? SignGrad<kByColumns, kNeedsOut, true> : SignGrad<kByColumns, kNeedsOut, false>, g);
}

template <class Tile, bool kByColumns>
void RunProduct(Launches& launches, int64_t blocks, const GradArguments& g) {
  const Grid grid = {blocks, kTileThreads, sizeof(ProductMemory<Tile, kByColumns>)};
  launches.Run(grid,
               NeedsOut(g.metric, g.activation) ? ProductGrad<Tile, kByColumns, true>
                                                : ProductGrad<Tile, kByColumns, false>,
               g);
}

template <int kSide, bool kByColumns>
void RunProducts(Launches& launches, Precision precision, int64_t blocks, const GradArguments& g) {
  switch (precision) {
    case Precision::kFloat32:
      return RunProduct<PlainTile<kSide, kSide, Pair::kProduct>, kByColumns>(launches, blocks, g);
    case Precision::kTf32:
      return RunProduct<TensorTile<kSide, kSide, Precision::kTf32>, kByColumns>(launches, blocks, g);
    case Precision::k3xTf32:
      return RunProduct<TensorTile<64, 64, Precision::k3xTf32>, kByColumns>(launches, blocks, g);
    case Precision::kBfloat16:
      return RunProduct<TensorTile<kSide, kSide, Precision::kBfloat16>, kByColumns>(launches, blocks, g);
  }
}

// The gradient of `own`, which g has all but the sides of.
template <bool kByColumns>
void SideGrad(Launches& launches, const PairwiseKernel& kernel, Matrix<const float> own,
              Matrix<const float> other, GradArguments g, float* copies, float* gradient) {
  const Shares shares = SharesOf(kernel, own, other);
  g.own = own.data, g.other = other.data;
  g.rows = own.rows, g.depth = other.rows, g.dim = own.cols;
  g.down = shares.down, g.across = shares.across, g.depth_of_split = shares.depth_of_split;
  g.other_aligned = IsAligned(other.data, other.cols);
  g.to = shares.splits > 1 ? copies : gradient;
  if (PairOf(kernel.metric) == Pair::kLargestAbsolute)
    launches.Run(OneWarpEach(own.rows * shares.splits), LargestGrad<kByColumns>, g);
  else if (!IsProductMetric(kernel.metric))
    NeedsOut(g.metric, g.activation) ? RunSigns<kByColumns, true>(launches, shares.blocks(), g)
                                     : RunSigns<kByColumns, false>(launches, shares.blocks(), g);
  else if (TileSide(kernel, own.rows, own.cols) == 128)
    RunProducts<128, kByColumns>(launches, kernel.precision, shares.blocks(), g);
  else
    RunProducts<64, kByColumns>(launches, kernel.precision, shares.blocks(), g);
  const int64_t n = own.rows * own.cols;
  if (shares.splits > 1)
    launches.Run({DivideUp(n, kTileThreads), kTileThreads}, AddCopies, copies, shares.splits, n, gradient);
}

void Normalise(Launches& launches, Matrix<const float>& x, float* unit, float* norms) {
  launches.Run(OneWarpEach(x.rows), NormaliseRows<true>, x.data, x.rows, x.cols, unit, norms);
  x.data = unit;
}

}  // namespace

int64_t PairwiseGradWorkspace(const PairwiseKernel& kernel, Matrix<const float> x, Matrix<const float> y) {
  Parts parts(nullptr);
  GradMemory(parts, kernel, x, y);
  return parts.bytes();
}

std::string PairwiseGrad(Stream stream, const PairwiseKernel& kernel, Matrix<const float> x,
                         Matrix<const float> y, const float* grad, const float* out, void* workspace,
                         const PairwiseGradients& gradients) {
  Launches launches(stream, "gradient of pairwise");
  Parts parts(workspace);
  const GradMemory memory(parts, kernel, x, y);
  const bool cosine = kernel.metric == Metric::kCosine;
  if (cosine) {
    Normalise(launches, x, memory.unit_x, memory.x_norms);
    Normalise(launches, y, memory.unit_y, memory.y_norms);
  }

  GradArguments g = {};
  g.metric = kernel.metric;
  g.activation = kernel.activation;
  g.grad = grad, g.out = out, g.cols = y.rows;
  g.pairs_aligned = IsAligned(grad, y.rows) && IsAligned(out, y.rows);
  g.weights = kernel.weights.data;
  g.totals = gradients.dweights ? memory.totals : nullptr;
  SideGrad<false>(launches, kernel, x, y, g, memory.copies, gradients.dx);
  g.totals = nullptr;
  SideGrad<true>(launches, kernel, y, x, g, memory.copies, gradients.dy);
  if (cosine) {
    launches.Run(OneWarpEach(x.rows), ProjectRows, memory.unit_x, memory.x_norms, x.rows, x.cols,
                 gradients.dx);
    launches.Run(OneWarpEach(y.rows), ProjectRows, memory.unit_y, memory.y_norms, y.rows, y.cols,
                 gradients.dy);
  }

  if (gradients.dweights) {
    const Shares shares = SharesOf(kernel, x, y);
    launches.Run({DivideUp(x.cols, kTileThreads), kTileThreads}, AddCopies, memory.totals,
                 shares.down * shares.splits, x.cols, gradients.dweights);
  }
  if (gradients.dbias) {
    const int64_t pairs = x.rows * y.rows, blocks = BiasBlocks(pairs);
    constexpr int64_t kShared = kTileThreads / 32 * sizeof(double);
    const BiasArguments bias = {kernel.metric, kernel.activation, grad, out, pairs, memory.bias_sums};
    launches.Run({blocks, kTileThreads, kShared}, SumCoefficients, bias);
    launches.Run({1, kTileThreads, kShared}, SumOfBlocks, memory.bias_sums, blocks, gradients.dbias);
  }
  return launches.problem();
}

}  // namespace fslcore::cuda
