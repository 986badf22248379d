// SPDX-License-Identifier: MIT
// Tiles of 64 x 64 pairs for the reductions and their gradient: a block owns 64 rows and walks through all
// others. Sums are made by cuda/pairwise/tile.h; a warp finishes a row of the tile, so that what is kept of a
// row is written by one warp, in the order of the columns.
#pragma once
#include "core/reductions/pair_function.h"
#include "core/reductions/pair_reduction.h"
#include "cuda/pairwise/pairwise_finish.h"
#include "cuda/pairwise/tile.h"
#include "cuda/pairwise/weighted_rows.h"

namespace fslcore::cuda::reductions {

using namespace pairwise;

constexpr int kSide = 64, kStride = kSide + 4, kColumns = kSide / kWarpSize;

// One side of the pairs: own rows and all others. Terms belong to the rows of x, which are one or both of
// them.
struct PairArguments {
  PairwiseArguments pairs;  // own rows are its x
  bool excludes_self;
  PairTerm terms[kPairTerms];
  const float* parameters;
  const int64_t *own_labels, *other_labels;
  const float *levels, *values, *grad;  // [kPairTerms, term_rows]; levels may be null
  int64_t term_rows;
  bool of_own, of_others;  // which side the terms belong to

  __device__ PairParameters ParametersOf(int term) const {
    const float* p = parameters + term * kPairParameters;
    return {p[0], p[1], p[2], p[3]};
  }
  __device__ bool IsPair(PairGroup group, int64_t own, int64_t other) const {
    return own < pairs.rows && other < pairs.cols && !(excludes_self && own == other) &&
           IsPairOf(group, own_labels[own], other_labels[other]);
  }
  __device__ float LevelOf(int term, int64_t row) const {
    return levels ? levels[term * term_rows + row] : 0.0f;
  }
  // Whether a pair of the group counts for the term of a row.
  __device__ bool Counts(int term, int64_t row, float t) const {
    return !levels || terms[term].function == PairFunction::kLifted || levels[term * term_rows + row] < t;
  }
};

union TileMemory {
  TileBuffers<kSide, kSide> operands;
  float sums[kSide * kStride];
};

// Leaves the sums of the tile in shared memory, behind a barrier.
template <Pair kPair>
__device__ void SumPairs(const PairArguments& g, int64_t first_row, int64_t first_col, TileMemory& memory) {
  const PairwiseArguments& pairs = g.pairs;
  const auto steps = static_cast<int>((pairs.dim + kTileDepth - 1) / kTileDepth);
  PlainTile<kSide, kSide, kPair> tile;
  OperandByRows<kSide> a(pairs.x, pairs.dim, first_row, pairs.rows, 0, pairs.dim, pairs.x_aligned);
  if constexpr (kPair == Pair::kWeightedAbsolute) {
    WeightedRows<kSide> b(pairs, first_col);
    AddUpSteps(steps, a, b, memory.operands, tile);
  } else {
    OperandByRows<kSide> b(pairs.y, pairs.dim, first_col, pairs.cols, 0, pairs.dim, pairs.y_aligned);
    AddUpSteps(steps, a, b, memory.operands, tile);
  }
  tile.Deposit(memory.sums, kStride);
  __syncthreads();
}

// Calls use(r, row, columns of the lane, metrics of them) for each row of the tile, a warp for each.
template <class Use>
__device__ void ForEachRowOfTile(const PairArguments& g, int64_t first_row, int64_t first_col, float* sums,
                                 const Use& use) {
  const RowShare<kColumns> share(g.pairs, first_col);
  for (int r = static_cast<int>(threadIdx.x) / kWarpSize; r < kSide && first_row + r < g.pairs.rows;
       r += kTileThreads / kWarpSize) {
    float metrics[kColumns];
    FSLCORE_UNROLL
    for (int q = 0; q < kColumns; ++q) metrics[q] = sums[r * kStride + Lane() + kWarpSize * q];
    share.Finish(g.pairs, first_row + r, metrics);
    use(r, first_row + r, share, metrics);
  }
}

// The caller's workspace: squares of lengths or rows of length 1, for both sides.
struct PairParts {
  float *unit_x = nullptr, *unit_y = nullptr, *x_norms = nullptr, *y_norms = nullptr;
  float *x_squares = nullptr, *y_squares = nullptr;

  PairParts(Parts& parts, const PairProblem& problem) {
    const bool is_batch = problem.rows == PairRows::kBatch;
    if (problem.metric == Metric::kCosine) {
      unit_x = parts.Take<float>(problem.x.rows * problem.x.cols);
      x_norms = parts.Take<float>(problem.x.rows);
      unit_y = is_batch ? unit_x : parts.Take<float>(problem.y.rows * problem.y.cols);
      y_norms = is_batch ? x_norms : parts.Take<float>(problem.y.rows);
    } else if (problem.metric == Metric::kSqeuclidean || problem.metric == Metric::kEuclidean) {
      x_squares = parts.Take<float>(problem.x.rows);
      y_squares = is_batch ? x_squares : parts.Take<float>(problem.y.rows);
    }
  }

  void Prepare(Launches& launches, const PairProblem& problem) const {
    const bool is_batch = problem.rows == PairRows::kBatch;
    PrepareRows(launches, problem.x, unit_x, x_norms, x_squares);
    if (!is_batch) PrepareRows(launches, problem.y, unit_y, y_norms, y_squares);
  }

 private:
  static void PrepareRows(Launches& launches, Matrix<const float> rows, float* unit, float* norms,
                          float* squares) {
    if (unit)
      launches.Run(OneWarpEach(rows.rows), NormaliseRows<true>, rows.data, rows.rows, rows.cols, unit, norms);
    const auto square = SquareRows<Precision::kFloat32>;
    if (squares) launches.Run(OneWarpEach(rows.rows), square, rows.data, rows.rows, rows.cols, 1.0f, squares);
  }
};

// The side of x; what is particular to values or gradients is left out.
inline PairArguments SideOfX(const PairProblem& problem, const PairParts& parts) {
  const Matrix<const float> x = problem.x, y = problem.others();
  const bool is_batch = problem.rows == PairRows::kBatch;
  PairArguments g = {};
  g.pairs.metric = problem.metric;
  g.pairs.x = parts.unit_x ? parts.unit_x : x.data;
  g.pairs.y = parts.unit_y ? parts.unit_y : y.data;
  g.pairs.rows = x.rows, g.pairs.cols = y.rows, g.pairs.dim = x.cols;
  g.pairs.x_scales = parts.x_squares, g.pairs.y_scales = parts.y_squares;
  g.pairs.weights = problem.weights.data;
  g.pairs.x_aligned = IsAligned(g.pairs.x, x.cols), g.pairs.y_aligned = IsAligned(g.pairs.y, x.cols);
  g.excludes_self = problem.rows != PairRows::kApart;
  for (int term = 0; term < kPairTerms; ++term) g.terms[term] = problem.terms[static_cast<size_t>(term)];
  g.parameters = problem.parameters;
  g.own_labels = problem.x_labels, g.other_labels = is_batch ? problem.x_labels : problem.y_labels;
  g.levels = problem.levels;
  g.term_rows = x.rows;
  g.of_own = true, g.of_others = is_batch;
  return g;
}

}  // namespace fslcore::cuda::reductions
