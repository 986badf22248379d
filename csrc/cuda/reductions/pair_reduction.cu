// SPDX-License-Identifier: MIT
// The terms of pairs on a GPU. On an H200 the sums take 2 rows * columns * dim / 67e12 s.
#include "cuda/reductions/pair_reduction.h"
#include "cuda/reductions/pair_tiles.h"

namespace fslcore::cuda {

using namespace reductions;

namespace {

// What a term of a row is reduced to so far: the greatest value, or of min the greatest negative.
struct Reduced {
  double sum, count;
  float extreme;
  int32_t index;
  bool has_nan;
};

struct ReduceMemory {
  TileMemory tile;
  Reduced reduced[kPairTerms][kSide];
};

__device__ int32_t WarpLeast(int32_t value) {
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    const int32_t other = __shfl_xor_sync(kWholeWarp, value, mask);
    value = other < value ? other : value;
  }
  return value;
}

__device__ void ReduceRow(const PairArguments& g, int term, int64_t row, const RowShare<kColumns>& share,
                          const float (&metrics)[kColumns], Reduced& reduced) {
  const PairTerm& of = g.terms[term];
  const PairParameters p = g.ParametersOf(term);
  const float level = g.LevelOf(term, row), sign = of.reduction == PairReduction::kMin ? -1.0f : 1.0f;
  float values[kColumns], sum = 0.0f, largest = -INFINITY;
  bool counts[kColumns], has_nan = false;
  int count = 0;
  FSLCORE_UNROLL
  for (int q = 0; q < kColumns; ++q) {
    const int64_t col = share.Col(q);
    const float t = fmaf(p.scale, metrics[q], p.offset);
    counts[q] = g.IsPair(of.pairs, row, col) && g.Counts(term, row, t);
    values[q] = 0.0f;
    if (!counts[q]) continue;
    const float other = of.function == PairFunction::kLifted ? g.LevelOf(term, col) : 0.0f;
    values[q] = sign * ValueOfPair(of.function, p, t, level, other);
    ++count;
    sum += values[q];
    has_nan = has_nan || values[q] != values[q];
    largest = fmaxf(largest, values[q]);
  }
  if (!__any_sync(kWholeWarp, count > 0)) return;
  count = WarpSum(count);
  has_nan = __any_sync(kWholeWarp, has_nan);
  sum = WarpSum(sum);
  largest = WarpMax(largest);
  if (of.reduction == PairReduction::kLogSumExp) {
    const float before = reduced.extreme, extreme = fmaxf(before, largest);
    sum = 0.0f;
    FSLCORE_UNROLL
    for (int q = 0; q < kColumns; ++q)
      if (counts[q]) sum += expf(values[q] - extreme);
    sum = WarpSum(sum);
    __syncwarp();
    if (Lane() == 0) {
      if (extreme > before) reduced.sum *= exp(static_cast<double>(before) - static_cast<double>(extreme));
      reduced.extreme = extreme;
      reduced.sum += static_cast<double>(sum);
    }
  } else if (IsExtreme(of.reduction)) {
    const float before = reduced.extreme;
    int32_t first = INT32_MAX;
    FSLCORE_UNROLL
    for (int q = kColumns - 1; q >= 0; --q)
      if (counts[q] && values[q] == largest) first = static_cast<int32_t>(share.Col(q));
    first = WarpLeast(first);
    __syncwarp();
    if (Lane() == 0 && largest > before) reduced.extreme = largest, reduced.index = first;
  } else if (Lane() == 0) {
    reduced.sum += static_cast<double>(sum);
  }
  if (Lane() == 0) {
    reduced.count += count;
    reduced.has_nan = reduced.has_nan || has_nan;
  }
  __syncwarp();
}

__device__ float Finished(PairReduction reduction, const Reduced& reduced) {
  if (reduced.has_nan) return NAN;
  if (reduction == PairReduction::kSum) return static_cast<float>(reduced.sum);
  if (reduction == PairReduction::kMax) return reduced.extreme;
  if (reduction == PairReduction::kMin) return -reduced.extreme;
  if (reduction == PairReduction::kNone) return 0.0f;
  return reduced.extreme - reduced.extreme != 0.0f
             ? reduced.extreme
             : static_cast<float>(static_cast<double>(reduced.extreme) + log(reduced.sum));
}

template <Pair kPair>
__global__ void __launch_bounds__(kTileThreads) ReduceTiles(PairArguments g, ReducedPairs out) {
  auto& memory = *SharedMemory<ReduceMemory>();
  const int64_t first_row = int64_t{blockIdx.x} * kSide;
  for (int i = static_cast<int>(threadIdx.x); i < kPairTerms * kSide; i += kTileThreads)
    memory.reduced[i / kSide][i % kSide] = {0.0, 0.0, -INFINITY, -1, false};
  __syncthreads();
  for (int64_t col = 0; col < g.pairs.cols; col += kSide) {
    SumPairs<kPair>(g, first_row, col, memory.tile);
    ForEachRowOfTile(g, first_row, col, memory.tile.sums,
                     [&](int r, int64_t row, const auto& share, const float (&metrics)[kColumns]) {
                       for (int term = 0; term < kPairTerms; ++term)
                         if (g.terms[term].reduction != PairReduction::kNone)
                           ReduceRow(g, term, row, share, metrics, memory.reduced[term][r]);
                     });
    __syncthreads();
  }
  for (int i = static_cast<int>(threadIdx.x); i < kPairTerms * kSide; i += kTileThreads) {
    const int term = i / kSide;
    const int64_t row = first_row + i % kSide, at = term * g.pairs.rows + row;
    if (row >= g.pairs.rows) continue;
    const Reduced& reduced = memory.reduced[term][i % kSide];
    out.values[at] = Finished(g.terms[term].reduction, reduced);
    out.indices[at] = IsExtreme(g.terms[term].reduction) ? reduced.index : -1;
    out.counts[at] = static_cast<float>(reduced.count);
  }
}

}  // namespace

int64_t ReducePairsWorkspace(const PairProblem& problem) {
  Parts parts(nullptr);
  PairParts(parts, problem);
  return parts.bytes();
}

std::string ReducePairs(Stream stream, const PairProblem& problem, void* workspace,
                        const ReducedPairs& reduced) {
  Launches launches(stream, "pair_reductions");
  Parts parts(workspace);
  const PairParts own(parts, problem);
  own.Prepare(launches, problem);
  const Grid grid = {DivideUp(problem.x.rows, kSide), kTileThreads, sizeof(ReduceMemory)};
  WithPair(problem.metric, [&](auto pair) {
    if constexpr (decltype(pair)::value != Pair::kLargestAbsolute)
      launches.Run(grid, ReduceTiles<decltype(pair)::value>, SideOfX(problem, own), reduced);
  });
  return launches.problem();
}

}  // namespace fslcore::cuda
