// SPDX-License-Identifier: MIT
// The gradient through the terms of pairs on a GPU. A block owns 64 rows: it makes a tile of metrics, turns
// them into coefficients, and multiplies these with the other rows of the tile, 64 columns at a time; its
// part of the gradient is in global memory, where no other block writes. On an H200 the sums and the products
// take 4 rows * columns * dim / 67e12 s for each side.
#include "cuda/reductions/pair_products.h"
#include "cuda/reductions/pair_reduction.h"

namespace fslcore::cuda {

using namespace reductions;

namespace {

constexpr int kSums = 3;  // of d / d t, of metric * d / d t, of the levels

struct GradMemory : ProductMemory {
  double of_terms[kPairTerms][kSums][kSide];
};

struct GradOutputs {
  Product product;
  float *sums, *dlevels;  // or null
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

template <Pair kPair>
__global__ void __launch_bounds__(kTileThreads) GradTiles(PairArguments g, GradOutputs out) {
  auto& memory = *SharedMemory<GradMemory>();
  const int64_t first_row = int64_t{blockIdx.x} * kSide;
  for (int i = static_cast<int>(threadIdx.x); i < kSide; i += kTileThreads) {
    memory.totals[i] = 0.0;
    for (int term = 0; term < kPairTerms; ++term)
      for (int kind = 0; kind < kSums; ++kind) memory.of_terms[term][kind][i] = 0.0;
  }
  __syncthreads();
  MultiplyTiles<kPair>(g, first_row, out.product, memory,
                       [&](int64_t col) { return MakeCoefficients(g, first_row, col, memory); });
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

}  // namespace

int64_t ReducePairsGradWorkspace(const PairProblem& problem) { return ReducePairsWorkspace(problem); }

std::string ReducePairsGrad(Stream stream, const PairProblem& problem, void* workspace, const float* values,
                            const float* grad, const PairGradients& gradients) {
  Launches launches(stream, "pair_reductions_grad");
  Parts parts(workspace);
  const PairParts own(parts, problem);
  own.Prepare(launches, problem);
  PairArguments g = SideOfX(problem, own);
  g.values = values, g.grad = grad;
  ForBothSides(launches, problem, own, g, gradients.dx, gradients.dy, [&](bool of_x, const Product& product) {
    const GradOutputs out = {product, of_x ? gradients.sums : nullptr, of_x ? gradients.dlevels : nullptr};
    const Grid grid = {DivideUp(g.pairs.rows, kSide), kTileThreads, sizeof(GradMemory)};
    WithPair(problem.metric, [&](auto pair) {
      if constexpr (decltype(pair)::value != Pair::kLargestAbsolute)
        launches.Run(grid, GradTiles<decltype(pair)::value>, g, out);
    });
  });
  return launches.problem();
}

}  // namespace fslcore::cuda
