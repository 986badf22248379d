// SPDX-License-Identifier: MIT
// Sums over pairs with their gradient on a GPU: tiles as in pair_reduction_grad.cu. On an H200 the sums and
// the products take 4 rows * columns * dim / 67e12 s for each side.
#include "cuda/reductions/pair_products.h"
#include "cuda/reductions/pair_sum.h"

namespace fslcore::cuda {

using namespace reductions;

namespace {

constexpr int kKinds = 4;  // value, d / d t, metric * d / d t, pairs

struct SumArguments {
  PairArguments pairs;  // its levels are not used
  const float *factors, *levels;
  int level_count;
  double* sums;   // [kPairTerms, kKinds, rows of x], or null
  float* slopes;  // [levels, rows of x]
};

struct SumMemory : ProductMemory {
  double of_terms[kPairTerms][kKinds][kSide], of_levels[kMostPairLevels][kSide];
};

// Adds what a term makes of t, of the own row and of the other, and of the own row to `of_term`; returns the
// slope of both.
__device__ float SlopeAt(const SumArguments& g, int term, int64_t row, int64_t col, int level, float t,
                         float (&of_term)[kKinds], float& own_slope) {
  const PairArguments& pairs = g.pairs;
  const PairFunction function = pairs.terms[term].function;
  const PairParameters p = pairs.ParametersOf(term);
  const auto above = [&](int64_t owner) {
    return level < 0 ? t : t - g.levels[level * pairs.term_rows + owner];
  };
  float slope = 0.0f;
  if (pairs.of_own) {
    own_slope = g.factors[term] * SlopeOfPair(function, p, above(row), 0.0f, 0.0f);
    of_term[0] += g.factors[term] * ValueOfPair(function, p, above(row), 0.0f, 0.0f);
    of_term[1] += own_slope;
    slope = own_slope;
  }
  if (pairs.of_others) slope += g.factors[term] * SlopeOfPair(function, p, above(col), 0.0f, 0.0f);
  return slope;
}

__device__ bool MakeCoefficients(const SumArguments& g, int64_t first_row, int64_t first_col,
                                 SumMemory& memory) {
  bool any = false;
  float* sums = memory.tile.sums;
  const PairArguments& pairs = g.pairs;
  ForEachRowOfTile(pairs, first_row, first_col, sums,
                   [&](int r, int64_t row, const auto& share, const float (&metrics)[kColumns]) {
                     float total = 0.0f, of_terms[kPairTerms][kKinds] = {}, of_levels[kMostPairLevels] = {};
                     FSLCORE_UNROLL
                     for (int q = 0; q < kColumns; ++q) {
                       float slope = 0.0f;
                       for (int term = 0; term < kPairTerms; ++term) {
                         if (pairs.terms[term].reduction != PairReduction::kSum ||
                             !pairs.IsPair(pairs.terms[term].pairs, row, share.Col(q)))
                           continue;
                         const PairParameters p = pairs.ParametersOf(term);
                         const float t = fmaf(p.scale, metrics[q], p.offset);
                         const float before = of_terms[term][1];
                         float both = 0.0f, own_slope = 0.0f;
                         if (g.level_count == 0)
                           both = SlopeAt(g, term, row, share.Col(q), -1, t, of_terms[term], own_slope);
                         for (int level = 0; level < g.level_count; ++level) {
                           both += SlopeAt(g, term, row, share.Col(q), level, t, of_terms[term], own_slope);
                           of_levels[level] += own_slope;
                         }
                         of_terms[term][2] += (of_terms[term][1] - before) * metrics[q];
                         of_terms[term][3] += 1.0f;
                         slope += p.scale * both;
                       }
                       const float coefficient = InsideMetric(pairs.pairs.metric, slope, metrics[q]);
                       sums[r * kStride + Lane() + kWarpSize * q] = coefficient;
                       total += coefficient;
                       any = any || !(coefficient == 0.0f);
                     }
                     total = WarpSum(total);
                     if (Lane() == 0) memory.totals[r] += static_cast<double>(total);
                     for (int term = 0; term < kPairTerms; ++term)
                       for (int kind = 0; kind < kKinds; ++kind) {
                         const float sum = WarpSum(of_terms[term][kind]);
                         if (Lane() == 0) memory.of_terms[term][kind][r] += static_cast<double>(sum);
                       }
                     for (int level = 0; level < g.level_count; ++level) {
                       const float sum = WarpSum(of_levels[level]);
                       if (Lane() == 0) memory.of_levels[level][r] += static_cast<double>(sum);
                     }
                   });
  return any;
}

template <Pair kPair>
__global__ void __launch_bounds__(kTileThreads) SumTiles(SumArguments g, Product out) {
  auto& memory = *SharedMemory<SumMemory>();
  const int64_t first_row = int64_t{blockIdx.x} * kSide;
  for (int i = static_cast<int>(threadIdx.x); i < kSide; i += kTileThreads) {
    memory.totals[i] = 0.0;
    for (int term = 0; term < kPairTerms; ++term)
      for (int kind = 0; kind < kKinds; ++kind) memory.of_terms[term][kind][i] = 0.0;
    for (int level = 0; level < g.level_count; ++level) memory.of_levels[level][i] = 0.0;
  }
  __syncthreads();
  MultiplyTiles<kPair>(g.pairs, first_row, out, memory,
                       [&](int64_t col) { return MakeCoefficients(g, first_row, col, memory); });
  const int64_t rows = g.pairs.pairs.rows;
  for (int i = static_cast<int>(threadIdx.x); g.sums && i < kSide && first_row + i < rows;
       i += kTileThreads) {
    for (int at = 0; at < kPairTerms * kKinds; ++at)
      g.sums[at * rows + first_row + i] = memory.of_terms[at / kKinds][at % kKinds][i];
    for (int level = 0; level < g.level_count; ++level)
      g.slopes[level * rows + first_row + i] = static_cast<float>(memory.of_levels[level][i]);
  }
}

// One warp adds up the rows of each sum.
__global__ void AddRows(const double* sums, int64_t rows, PairSums out) {
  double totals[kPairTerms * kKinds];
  for (int at = 0; at < kPairTerms * kKinds; ++at) {
    double sum = 0.0;
    for (int64_t row = Lane(); row < rows; row += kWarpSize) sum += sums[at * rows + row];
    for (int mask = kWarpSize / 2; mask > 0; mask /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, mask);
    totals[at] = sum;
  }
  if (Lane() != 0) return;
  double total = 0.0;
  for (int term = 0; term < kPairTerms; ++term) {
    const double* of = totals + term * kKinds;
    total += of[0];
    out.dparameters[2 * term] = static_cast<float>(of[2]);
    out.dparameters[2 * term + 1] = static_cast<float>(of[1]);
    out.counts[term] = static_cast<float>(of[3]);
  }
  *out.total = static_cast<float>(total);
}

struct SumParts : PairParts {
  double* sums;
  SumParts(Parts& parts, const PairProblem& problem)
      : PairParts(parts, problem), sums(parts.Take<double>(kPairTerms * kKinds * problem.x.rows)) {}
};

}  // namespace

int64_t SumPairsWorkspace(const PairSumProblem& problem) {
  Parts parts(nullptr);
  SumParts(parts, problem.pairs);
  return parts.bytes();
}

std::string SumPairs(Stream stream, const PairSumProblem& problem, void* workspace, const PairSums& out) {
  Launches launches(stream, "pair_sums");
  Parts parts(workspace);
  const SumParts own(parts, problem.pairs);
  own.Prepare(launches, problem.pairs);
  SumArguments g = {SideOfX(problem.pairs, own),      problem.factors, problem.of_rows,
                    static_cast<int>(problem.levels), nullptr,         out.slopes};
  ForBothSides(launches, problem.pairs, own, g.pairs, out.dx, out.dy, [&](bool of_x, const Product& product) {
    g.sums = of_x ? own.sums : nullptr;
    const Grid grid = {DivideUp(g.pairs.pairs.rows, kSide), kTileThreads, sizeof(SumMemory)};
    WithPair(problem.pairs.metric, [&](auto pair) {
      if constexpr (decltype(pair)::value != Pair::kLargestAbsolute)
        launches.Run(grid, SumTiles<decltype(pair)::value>, g, product);
    });
  });
  launches.Run({1, kWarpSize, 0}, AddRows, own.sums, problem.pairs.x.rows, out);
  return launches.problem();
}

}  // namespace fslcore::cuda
