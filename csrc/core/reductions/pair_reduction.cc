// SPDX-License-Identifier: MIT
#include "core/reductions/pair_reduction.h"

#include <cmath>

#include "core/reductions/pair_stretches.h"

namespace fslcore {

using namespace reductions;

std::string CheckPairReduction(Metric metric, PairRows rows, const std::array<PairTerm, kPairTerms>& terms,
                               const Sizes& x, const Sizes& y, const Sizes& x_labels, const Sizes& y_labels,
                               const Sizes& weights, const Sizes& parameters, const Sizes& levels) {
  const std::string problem = FirstOf(
      {CheckAxes("x", x, 2), CheckAxes("y", y, 2), CheckAxes("x_labels", x_labels, 1),
       CheckAxes("y_labels", y_labels, 1), CheckAxes("weights", weights, 1),
       CheckSizes("parameters", parameters, {kPairTerms, kPairParameters}), CheckAxes("levels", levels, 2)});
  if (!problem.empty()) return problem;
  if (x[1] != y[1])
    return "x and y must have the same number of columns, received x: " + ShapeText(x) +
           ", y: " + ShapeText(y);
  for (const auto& [name, of, labels] : {std::tuple{"x", &x, &x_labels}, std::tuple{"y", &y, &y_labels}}) {
    if ((*of)[0] >= kMostReducedRows)
      return std::string(name) + " must have fewer than 2^24 rows, received " + std::to_string((*of)[0]);
    if ((*labels)[0] != (*of)[0])
      return std::string(name) + "_labels must hold one label per row of " + name + " (" +
             std::to_string((*of)[0]) + "), received " + std::to_string((*labels)[0]);
  }
  const int64_t wanted_weights = metric == Metric::kWeightedManhattan ? x[1] : 0;
  if (weights[0] != wanted_weights)
    return "weights must hold " + std::to_string(wanted_weights) + " numbers for this metric, received " +
           std::to_string(weights[0]);
  if (rows == PairRows::kBatch && y[0] != 0)
    return "y must have no rows where the rows are a batch, received " + std::to_string(y[0]);
  if (rows == PairRows::kLeading && y[0] < x[0])
    return "y must begin with the rows of x, received x: " + ShapeText(x) + ", y: " + ShapeText(y);
  if (levels != Sizes{0, x[0]} && levels != Sizes{kPairTerms, x[0]})
    return "levels must have shape [0, " + std::to_string(x[0]) + "] or " + ShapeText({kPairTerms, x[0]}) +
           ", received shape " + ShapeText(levels);
  for (const PairTerm& term : terms)
    if (term.function == PairFunction::kLifted && (rows != PairRows::kBatch || levels[0] == 0))
      return "the function lifted needs the rows of a batch and their levels, received neither or one of "
             "both";
  return "";
}

namespace {

float Finished(const PairTerm& term, const simd::ReducedTerm& reduced) {
  if (reduced.has_nan) return std::numeric_limits<float>::quiet_NaN();
  switch (term.reduction) {
    case PairReduction::kNone:
      return 0.0f;
    case PairReduction::kSum:
      return static_cast<float>(reduced.sum);
    case PairReduction::kLogSumExp:
      return std::isinf(reduced.extreme)
                 ? reduced.extreme
                 : static_cast<float>(static_cast<double>(reduced.extreme) + std::log(reduced.sum));
    case PairReduction::kMax:
      return reduced.extreme;
    case PairReduction::kMin:
      return -reduced.extreme;
  }
  return 0.0f;
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr simd::ReducedTerm kNothing = {-kInfinity, false, 0.0, 0.0, -1};

// What all rows and threads share.
struct Reducing {
  const PairProblem& problem;
  Matrix<const float> x, y;
  PairClasses classes;
  PairwiseParts parts;
  int64_t stride;             // between the levels of terms, padded for whole stretches
  Scratch<float> col_levels;  // of a batch

  Reducing(const Executor& executor, const PairProblem& of)
      : problem(of),
        x(of.x),
        y(of.others()),
        classes(of.x_labels, x.rows, of.rows == PairRows::kBatch ? of.x_labels : of.y_labels, y.rows),
        parts(executor, KernelOf(of), x, y),
        stride(y.rows + simd::kMostStretch),
        col_levels(kPairTerms * stride) {
    if (of.levels == nullptr || of.rows != PairRows::kBatch) return;
    for (int term = 0; term < kPairTerms; ++term) {
      float* padded = col_levels.get() + term * stride;
      std::copy_n(of.levels + term * x.rows, x.rows, padded);
      std::fill_n(padded + x.rows, simd::kMostStretch, 0.0f);
    }
  }

  const PairTerm& term(int t) const { return problem.terms[static_cast<size_t>(t)]; }

  // `reduced` [kPairTerms] of a row gets its pairs with the columns from `first` on.
  void ReduceRow(int64_t row, const simd::PairStretch& pairs, int64_t first,
                 simd::ReducedTerm* reduced) const {
    for (int t = 0; t < kPairTerms; ++t)
      if (term(t).reduction != PairReduction::kNone)
        simd::Reductions().reduce(pairs, {term(t), ParametersOf(problem, t), IsLimited(problem, t),
                                          problem.levels ? problem.levels[t * x.rows + row] : 0.0f,
                                          col_levels.get() + t * stride + first, first, reduced + t});
  }

  void Write(int64_t row, const simd::ReducedTerm* reduced, const ReducedPairs& out) const {
    for (int t = 0; t < kPairTerms; ++t) {
      const int64_t at = t * x.rows + row;
      out.values[at] = Finished(term(t), reduced[t]);
      out.indices[at] = IsExtreme(term(t).reduction) ? reduced[t].index : -1;
      out.counts[at] = static_cast<float>(reduced[t].count);
    }
  }
};

// Every row with all rows of y.
void ReduceWhole(const Executor& executor, const Reducing& all, const ReducedPairs& out) {
  const bool excludes_self = all.problem.rows != PairRows::kApart;
  ParallelFor(executor, all.x.rows, BlockRows(all.x.rows), [&](int64_t begin, int64_t end) {
    std::vector<simd::ReducedTerm> reduced(static_cast<size_t>(kPairTerms * (end - begin)), kNothing);
    const auto of = [&](int64_t row) { return &reduced[static_cast<size_t>(kPairTerms * (row - begin))]; };
    ForEachStretch(
        all.problem, all.parts, begin, end, all.y.rows, all.classes.of_x(), all.classes.of_y(),
        [&](int64_t first, int64_t cols, int64_t padded, const float* metrics, float* col_classes) {
          for (int64_t row = begin; row < end; ++row) {
            const WithoutSelf without(excludes_self, row, first, cols, col_classes);
            all.ReduceRow(
                row,
                {padded, metrics + (row - begin) * simd::kMostStretch, col_classes, all.classes.of_x()[row]},
                first, of(row));
          }
        });
    for (int64_t row = begin; row < end; ++row) all.Write(row, of(row), out);
  });
}

// Adds what another part of the pairs of a row was reduced to.
void Merge(const PairTerm& term, const simd::ReducedTerm& from, simd::ReducedTerm* to) {
  to->count += from.count;
  to->has_nan = to->has_nan || from.has_nan;
  if (term.reduction == PairReduction::kSum) {
    to->sum += from.sum;
  } else if (term.reduction == PairReduction::kLogSumExp) {
    const float extreme = std::max(to->extreme, from.extreme);
    const auto scaled = [extreme](const simd::ReducedTerm& part) {
      return part.sum == 0.0
                 ? 0.0
                 : part.sum * std::exp(static_cast<double>(part.extreme) - static_cast<double>(extreme));
    };
    to->sum = scaled(*to) + scaled(from);
    to->extreme = extreme;
  } else if (from.extreme > to->extreme || (from.extreme == to->extreme && from.index < to->index)) {
    to->extreme = from.extreme;
    to->index = from.index;
  }
}

// Parts of the blocks of a batch, which is what threads take; each keeps numbers for all rows, 80 bytes a
// row.
constexpr int64_t kMostParts = 16;

// A batch: each block of rows with the columns from its own on. A stretch behind the block is reduced for its
// rows and, transposed, for its columns.
void ReduceHalf(const Executor& executor, const Reducing& all, const ReducedPairs& out) {
  const int64_t rows = all.x.rows, height = BlockRows(rows, simd::Rows().panel);
  const int64_t blocks = DivideUp(rows, height), shares = std::min(kMostParts, blocks);
  std::vector<simd::ReducedTerm> reduced(static_cast<size_t>(shares * rows * kPairTerms), kNothing);
  ParallelFor(executor, shares, 1, [&](int64_t share, int64_t) {
    const auto of = [&](int64_t row) {
      return &reduced[static_cast<size_t>((share * rows + row) * kPairTerms)];
    };
    const Scratch<float> transposed(simd::kMostStretch * height);
    for (int64_t index = share; index < blocks; index += shares) {
      const int64_t begin = index * height, end = std::min(begin + height, rows);
      const BlockOfRows block(all.problem, all.parts, begin, end, all.classes.of_x(), all.classes.of_y());
      const auto reduce_rows = [&](int64_t first, int64_t cols, int64_t padded, const float* metrics,
                                   float* col_classes) {
        for (int64_t row = begin; row < end; ++row) {
          const WithoutSelf without(true, row, first, cols, col_classes);
          all.ReduceRow(
              row,
              {padded, metrics + (row - begin) * simd::kMostStretch, col_classes, all.classes.of_x()[row]},
              first, of(row));
        }
        if (first < end) return;
        simd::Rows().transpose(metrics, simd::kMostStretch, end - begin, cols, transposed.get(), height);
        for (int64_t c = 0; c < cols; ++c)
          all.ReduceRow(first + c,
                        {height, transposed.get() + c * height, all.classes.of_x() + begin,
                         all.classes.of_x()[first + c]},
                        begin, of(first + c));
      };
      block.Meet(begin, end, reduce_rows);
      for (int64_t first = end; first < rows; first += simd::kMostStretch)
        block.Meet(first, std::min(first + simd::kMostStretch, rows), reduce_rows);
    }
  });
  ParallelFor(executor, rows, RowsWorthAThread(40 * shares), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      simd::ReducedTerm whole[kPairTerms] = {kNothing, kNothing};
      for (int64_t share = 0; share < shares; ++share)
        for (int t = 0; t < kPairTerms; ++t)
          Merge(all.term(t), reduced[static_cast<size_t>((share * rows + row) * kPairTerms + t)], &whole[t]);
      all.Write(row, whole, out);
    }
  });
}

}  // namespace

void ReducePairs(const Executor& executor, const PairProblem& problem, const ReducedPairs& out) {
  const Reducing all(executor, problem);
  if (problem.rows == PairRows::kBatch)
    ReduceHalf(executor, all, out);
  else
    ReduceWhole(executor, all, out);
}

}  // namespace fslcore
