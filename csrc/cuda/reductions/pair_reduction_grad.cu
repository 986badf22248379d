// SPDX-License-Identifier: MIT
// The gradient through the terms of pairs on a GPU. A block owns 64 rows: it makes a tile of metrics, turns
// them into coefficients, and multiplies these with the other rows of the tile, 64 columns at a time; its
// part of the gradient is in global memory, where no other block writes. On an H200 the sums and the products
// take 4 rows * columns * dim / 67e12 s for each side.
#include "cuda/reductions/pair_reduction.h"
#include "cuda/reductions/pair_tiles.h"

namespace fslcore::cuda {

using namespace reductions;

namespace {

constexpr int kSums = 3;  // of d / d t, of metric * d / d t, of the levels

struct GradMemory {
  TileMemory tile;
  float own[kSide * kStride], other[kSide * kStride];
  double totals[kSide], of_terms[kPairTerms][kSums][kSide];
};

struct GradOutputs {
  const float *own, *other;  // what is multiplied: rows of length 1 for cosine
  float* gradient;           // [rows, dim]
  float *sums, *dlevels;     // or null
};

// The slope of a term by the metric of a pair. of_terms gets what belongs to the own row.
__device__ float TermSlope(const PairArguments& g, int term, int64_t row, int64_t col, float metric,
                           float (&of_term)[kSums]) {
  const PairTerm& of = g.terms[term];
  if (of.reduction != PairReduction::kSum && of.reduction != PairReduction::kLogSumExp) return 0.0f;
  if (!g.IsPair(of.pairs, row, col)) return 0.0f;
  const PairParameters p = g.ParametersOf(term);
  const float t = fmaf(p.scale, metric, p.offset);
  const bool is_lifted = of.function == PairFunction::kLifted;
  const float u = is_lifted ? g.LevelOf(term, row) : 0.0f, v = is_lifted ? g.LevelOf(term, col) : 0.0f;
  const float slope = SlopeOfPair(of.function, p, t, u, v);
  const auto by = [&](bool wanted, int64_t owner) {
    if (!wanted || !g.Counts(term, owner, t)) return 0.0f;
    const int64_t at = term * g.term_rows + owner;
    float weight = g.grad[at];
    if (of.reduction == PairReduction::kLogSumExp)
      weight *= expf(ValueOfPair(of.function, p, t, u, v) - g.values[at]);
    return weight * slope;
  };
  const float of_own = by(g.of_own, row), both = of_own + by(g.of_others, col);
  of_term[0] = of_own;
  of_term[1] = of_own * metric;
  of_term[2] = is_lifted ? both * ShareOfSum(u, v) : 0.0f;
  return p.scale * both;
}

// d loss / d (the sum inside the metric).
__device__ float InsideMetric(Metric metric, float slope, float value) {
  if (slope == 0.0f) return 0.0f;
  switch (metric) {
    case Metric::kSqeuclidean:
      return 2.0f * slope;
    case Metric::kEuclidean:
      return value == 0.0f ? 0.0f : slope / value;
    case Metric::kCosine:
      return -slope;
    default:
      return slope;
  }
}

// Turns the sums of a tile into coefficients; returns whether this thread has one that is not 0.
__device__ bool MakeCoefficients(const PairArguments& g, int64_t first_row, int64_t first_col,
                                 GradMemory& memory) {
  bool any = false;
  float* sums = memory.tile.sums;
  ForEachRowOfTile(g, first_row, first_col, sums,
                   [&](int r, int64_t row, const auto& share, const float (&metrics)[kColumns]) {
                     float total = 0.0f, of_terms[kPairTerms][kSums] = {};
                     FSLCORE_UNROLL
                     for (int q = 0; q < kColumns; ++q) {
                       float slope = 0.0f;
                       for (int term = 0; term < kPairTerms; ++term) {
                         float of_term[kSums] = {};
                         slope += TermSlope(g, term, row, share.Col(q), metrics[q], of_term);
                         for (int kind = 0; kind < kSums; ++kind) of_terms[term][kind] += of_term[kind];
                       }
                       const float coefficient = InsideMetric(g.pairs.metric, slope, metrics[q]);
                       sums[r * kStride + Lane() + kWarpSize * q] = coefficient;
                       total += coefficient;
                       any = any || !(coefficient == 0.0f);
                     }
                     total = WarpSum(total);
                     for (int term = 0; term < kPairTerms; ++term)
                       for (int kind = 0; kind < kSums; ++kind) {
                         const float sum = WarpSum(of_terms[term][kind]);
                         if (Lane() == 0) memory.of_terms[term][kind][r] += static_cast<double>(sum);
                       }
                     if (Lane() == 0) memory.totals[r] += static_cast<double>(total);
                   });
  return any;
}

// 64 rows and columns of a matrix into shared memory, zeros outside of it.
__device__ void LoadSquare(const float* data, int64_t rows, int64_t dim, int64_t first_row, int64_t first_d,
                           float* square) {
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kSide; i += kTileThreads) {
    const int64_t row = first_row + i / kSide, d = first_d + i % kSide;
    square[i / kSide * kStride + i % kSide] = row < rows && d < dim ? data[row * dim + d] : 0.0f;
  }
}

// Adds the products of a tile of coefficients with 64 columns of the other rows, or with signs.
template <bool kSigns>
__device__ void MultiplySquare(const GradMemory& memory, int64_t first_row, int64_t rows, int64_t first_d,
                               int64_t dim, float* gradient) {
  constexpr int kPerThread = 4;
  const int r0 = static_cast<int>(threadIdx.x) / 16 * kPerThread,
            d0 = static_cast<int>(threadIdx.x) % 16 * kPerThread;
  float sums[kPerThread][kPerThread] = {};
  for (int c = 0; c < kSide; ++c) {
    FSLCORE_UNROLL
    for (int i = 0; i < kPerThread; ++i) {
      const float a = memory.tile.sums[(r0 + i) * kStride + c];
      FSLCORE_UNROLL
      for (int j = 0; j < kPerThread; ++j) {
        const float y = memory.other[c * kStride + d0 + j];
        if constexpr (kSigns) {
          const float difference = memory.own[(r0 + i) * kStride + d0 + j] - y;
          sums[i][j] += difference > 0.0f          ? a
                        : difference < 0.0f        ? -a
                        : difference != difference ? NAN
                                                   : 0.0f;
        } else {
          sums[i][j] = fmaf(a, y, sums[i][j]);
        }
      }
    }
  }
  FSLCORE_UNROLL
  for (int i = 0; i < kPerThread; ++i) {
    FSLCORE_UNROLL
    for (int j = 0; j < kPerThread; ++j)
      if (first_row + r0 + i < rows && first_d + d0 + j < dim)
        gradient[(first_row + r0 + i) * dim + first_d + d0 + j] += sums[i][j];
  }
}

template <Pair kPair>
__global__ void __launch_bounds__(kTileThreads) GradTiles(PairArguments g, GradOutputs out) {
  constexpr bool kSigns = kPair != Pair::kProduct;
  auto& memory = *SharedMemory<GradMemory>();
  const int64_t first_row = int64_t{blockIdx.x} * kSide, dim = g.pairs.dim;
  for (int i = static_cast<int>(threadIdx.x); i < kSide; i += kTileThreads) {
    memory.totals[i] = 0.0;
    for (int term = 0; term < kPairTerms; ++term)
      for (int kind = 0; kind < kSums; ++kind) memory.of_terms[term][kind][i] = 0.0;
  }
  __syncthreads();
  for (int64_t col = 0; col < g.pairs.cols; col += kSide) {
    SumPairs<kPair>(g, first_row, col, memory.tile);
    if (!__syncthreads_or(MakeCoefficients(g, first_row, col, memory))) continue;
    for (int64_t d = 0; d < dim; d += kSide) {
      LoadSquare(out.other, g.pairs.cols, dim, col, d, memory.other);
      if (kSigns) LoadSquare(out.own, g.pairs.rows, dim, first_row, d, memory.own);
      __syncthreads();
      MultiplySquare<kSigns>(memory, first_row, g.pairs.rows, d, dim, out.gradient);
      __syncthreads();
    }
  }
  __syncthreads();
  const bool of_differences = g.pairs.metric == Metric::kSqeuclidean || g.pairs.metric == Metric::kEuclidean;
  for (int64_t i = threadIdx.x; of_differences && i < kSide * dim; i += kTileThreads) {
    const int64_t row = first_row + i / dim, at = row * dim + i % dim;
    if (row < g.pairs.rows)  // sum of a (x - y) = x * sum of a - sum of a y
      out.gradient[at] = static_cast<float>(memory.totals[i / dim]) * out.own[at] - out.gradient[at];
  }
  for (int i = static_cast<int>(threadIdx.x); out.sums && i < kPairTerms * kSide; i += kTileThreads) {
    const int term = i / kSide;
    const int64_t row = first_row + i % kSide;
    if (row >= g.pairs.rows) continue;
    for (int kind = 0; kind < 2; ++kind)
      out.sums[(2 * term + kind) * g.pairs.rows + row] =
          static_cast<float>(memory.of_terms[term][kind][i % kSide]);
    if (out.dlevels)
      out.dlevels[term * g.pairs.rows + row] = static_cast<float>(memory.of_terms[term][2][i % kSide]);
  }
}

// The core's ProjectRows: from the gradient of a row of length 1 to that of the row.
__global__ void ProjectRows(const float* unit, const float* norms, int64_t rows, int64_t dim,
                            float* gradient) {
  const int64_t row = WarpOfGrid();
  if (row >= rows) return;
  const float* u = unit + row * dim;
  float* to = gradient + row * dim;
  const float along = WarpSum(LaneSum(dim, [u, to](int64_t d, float sum) { return fmaf(u[d], to[d], sum); }));
  for (int64_t d = Lane(); d < dim; d += kWarpSize)
    to[d] = norms[row] == 0.0f ? 0.0f : (to[d] - u[d] * along) / norms[row];
}

}  // namespace

int64_t ReducePairsGradWorkspace(const PairProblem& problem) { return ReducePairsWorkspace(problem); }

std::string ReducePairsGrad(Stream stream, const PairProblem& problem, void* workspace, const float* values,
                            const float* grad, const PairGradients& gradients) {
  Launches launches(stream, "pair_reductions_grad");
  Parts parts(workspace);
  const PairParts own(parts, problem);
  own.Prepare(launches, problem);
  const int64_t dim = problem.x.cols;
  PairArguments g = SideOfX(problem, own);
  g.values = values, g.grad = grad;
  const auto run = [&](const GradOutputs& out) {
    launches.Fill(out.gradient, 0, g.pairs.rows * dim);
    const Grid grid = {DivideUp(g.pairs.rows, kSide), kTileThreads, sizeof(GradMemory)};
    WithPair(problem.metric, [&](auto pair) {
      if constexpr (decltype(pair)::value != Pair::kLargestAbsolute)
        launches.Run(grid, GradTiles<decltype(pair)::value>, g, out);
    });
  };
  run({g.pairs.x, g.pairs.y, gradients.dx, gradients.sums, gradients.dlevels});
  if (own.unit_x)
    launches.Run(OneWarpEach(problem.x.rows), ProjectRows, own.unit_x, own.x_norms, problem.x.rows, dim,
                 gradients.dx);
  if (problem.rows == PairRows::kBatch) return launches.problem();
  std::swap(g.pairs.x, g.pairs.y);
  std::swap(g.pairs.rows, g.pairs.cols);
  std::swap(g.pairs.x_scales, g.pairs.y_scales);
  std::swap(g.pairs.x_aligned, g.pairs.y_aligned);
  std::swap(g.own_labels, g.other_labels);
  g.of_own = false, g.of_others = true;
  run({g.pairs.x, g.pairs.y, gradients.dy, nullptr, nullptr});
  if (own.unit_x)
    launches.Run(OneWarpEach(problem.y.rows), ProjectRows, own.unit_y, own.y_norms, problem.y.rows, dim,
                 gradients.dy);
  return launches.problem();
}

}  // namespace fslcore::cuda
