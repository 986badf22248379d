// SPDX-License-Identifier: MIT
#include "core/reductions/pair_reduction.h"

#include <cmath>

#include "core/reductions/pair_counts.h"
#include "core/reductions/pair_rounds.h"
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
//
// The number of a pair is the same for both of its rows, and is computed once, where a term has no levels and
// is a sum, or a logarithm of a sum of exponentials e^(z - shift) with one shift for all rows. The shift is
// near the greatest z of some rows; a row that is too far from it shows afterwards (`Fits`).
struct Reducing {
  const PairProblem& problem;
  Matrix<const float> x, y;
  PairClasses classes;
  PairwiseParts parts;
  CountsOfClasses counts;
  int64_t stride;             // between the levels of terms, padded for whole stretches
  Scratch<float> col_levels;  // of a batch
  bool is_shared[kPairTerms] = {};
  float shift[kPairTerms] = {};

  Reducing(const Executor& executor, const PairProblem& of)
      : problem(of),
        x(of.x),
        y(of.others()),
        classes(of.x_labels, x.rows, of.rows == PairRows::kBatch ? of.x_labels : of.y_labels, y.rows),
        parts(executor, KernelOf(of), x, y),
        counts(of, classes, y.rows),
        stride(y.rows + simd::kMostStretch),
        col_levels(kPairTerms * stride) {
    for (int t = 0; t < kPairTerms; ++t) {
      is_shared[t] = term(t).reduction == PairReduction::kSum && IsPlain(t);
      if (term(t).reduction == PairReduction::kLogSumExp && IsPlain(t)) FindShift(t);
    }
    if (of.levels == nullptr || of.rows != PairRows::kBatch) return;
    for (int term = 0; term < kPairTerms; ++term) {
      float* padded = col_levels.get() + term * stride;
      std::copy_n(of.levels + term * x.rows, x.rows, padded);
      std::fill_n(padded + x.rows, simd::kMostStretch, 0.0f);
    }
  }

  const PairTerm& term(int t) const { return problem.terms[static_cast<size_t>(t)]; }
  bool IsPlain(int t) const { return !IsLimited(problem, t) && term(t).function != PairFunction::kLifted; }

  // Between the greatest values of some rows, in some of their pairs.
  void FindShift(int t) {
    if (x.rows == 0 || y.rows == 0) return;
    const int64_t rows = std::min(x.rows, BlockRows(x.rows)), cols = std::min(y.rows, simd::kMostStretch);
    constexpr float kMostApart = 20.0f;
    float least = kInfinity, most = -kInfinity;
    BlockOfRows(problem, parts, 0, rows, classes.of_x(), classes.of_y())
        .Meet(0, cols, [&](const Stretch& stretch) {
          for (int64_t row = 0; row < rows; ++row) {
            const RowOfStretch of_row(problem.rows != PairRows::kApart, row, classes.of_x()[row], 0, stretch);
            simd::ReducedTerm greatest = kNothing;
            simd::Reductions().reduce(of_row.pairs(), {{term(t).pairs, term(t).function, PairReduction::kMax},
                                                       ParametersOf(problem, t),
                                                       false,
                                                       0.0f,
                                                       nullptr,
                                                       0,
                                                       &greatest});
            if (greatest.has_nan || std::isinf(greatest.extreme)) continue;
            least = std::min(least, greatest.extreme), most = std::max(most, greatest.extreme);
          }
        });
    is_shared[t] = most - least < kMostApart;
    if (is_shared[t]) shift[t] = 0.5f * (least + most);
  }

  bool HasUnshared() const {
    for (int t = 0; t < kPairTerms; ++t)
      if (term(t).reduction != PairReduction::kNone && !is_shared[t]) return true;
    return false;
  }

  // `reduced` [kPairTerms] of a row gets its pairs with the columns from `first` on: of the terms that are
  // shared, or of the others. Returns whether there are any.
  bool ReduceRow(bool shared, int64_t row, const simd::PairStretch& pairs, int64_t first, float* col_sums,
                 simd::ReducedTerm* reduced) const {
    bool any = false;
    for (int t = 0; t < kPairTerms; ++t) {
      if (term(t).reduction == PairReduction::kNone || is_shared[t] != shared) continue;
      if (shared)
        any |= simd::Reductions().reduce_shared(pairs,
                                                {term(t), ParametersOf(problem, t), shift[t], &reduced[t].sum,
                                                 col_sums ? col_sums + t * simd::kMostStretch : nullptr});
      else
        any |= simd::Reductions().reduce(pairs, {term(t), ParametersOf(problem, t), IsLimited(problem, t),
                                                 problem.levels ? problem.levels[t * x.rows + row] : 0.0f,
                                                 col_levels.get() + t * stride + first, first, reduced + t});
    }
    return any;
  }

  // Whether a row's sum of exponentials by a common shift is as good as by its own: e^18 either way, so that
  // what z - shift is rounded to matters no more than the rounding of z.
  bool Fits(int t, int64_t row, double sum) const {
    constexpr double kMost = 6.5e7;
    return !is_shared[t] || term(t).reduction != PairReduction::kLogSumExp ||
           counts.Of(term(t).pairs, row) == 0.0 || !(sum < 1.0 / kMost || sum > kMost);
  }

  void Write(int64_t row, simd::ReducedTerm* reduced, const ReducedPairs& out) const {
    for (int t = 0; t < kPairTerms; ++t) {
      const int64_t at = t * x.rows + row;
      if (is_shared[t]) {
        reduced[t].count = counts.Of(term(t).pairs, row);
        if (reduced[t].count > 0.0) reduced[t].extreme = shift[t];
      }
      out.values[at] = Finished(term(t), reduced[t]);
      out.indices[at] = IsExtreme(term(t).reduction) ? reduced[t].index : -1;
      out.counts[at] = static_cast<float>(reduced[t].count);
    }
  }
};

using ReducedRows = std::vector<simd::ReducedTerm>;  // [rows, kPairTerms]

// Every row with all rows of y.
void ReduceWhole(const Executor& executor, const Reducing& all, ReducedRows* reduced) {
  const bool excludes_self = all.problem.rows != PairRows::kApart, has_unshared = all.HasUnshared();
  ParallelFor(executor, all.x.rows, BlockRows(all.x.rows), [&](int64_t begin, int64_t end) {
    ForEachStretch(all.problem, all.parts, begin, end, all.y.rows, all.classes.of_x(), all.classes.of_y(),
                   [&](const Stretch& stretch) {
                     for (int64_t row = begin; row < end; ++row) {
                       const RowOfStretch of_row(excludes_self, row, all.classes.of_x()[row], begin, stretch);
                       simd::ReducedTerm* of = &(*reduced)[static_cast<size_t>(kPairTerms * row)];
                       all.ReduceRow(true, row, of_row.pairs(), stretch.first, nullptr, of);
                       if (has_unshared)
                         all.ReduceRow(false, row, of_row.pairs(), stretch.first, nullptr, of);
                     }
                   });
  });
}

// A batch: each two groups of rows once. A stretch of columns is reduced for the rows of a block and for its
// columns, where their numbers differ from those of the rows on its transpose.
void ReduceHalf(const Executor& executor, const Reducing& all, ReducedRows* reduced) {
  const RowGroups groups(all.x.rows);
  const bool has_unshared = all.HasUnshared();
  const auto of = [&](int64_t row) { return &(*reduced)[static_cast<size_t>(kPairTerms * row)]; };
  ForEachTwo(executor, groups.count(), [&](int64_t i, int64_t j) {
    const RowRange rows = groups.of(i), cols = groups.of(j);
    const int64_t height = HeightOf(rows);
    const Scratch<float> transposed(has_unshared ? simd::kMostStretch * height : 0);
    for (int64_t begin = rows.begin; begin < rows.end; begin += height) {
      const int64_t end = std::min(begin + height, rows.end);
      const BlockOfRows block(all.problem, all.parts, begin, end, all.classes.of_x(), all.classes.of_y());
      const auto reduce = [&](bool is_mirrored, const Stretch& stretch) {
        const int64_t first = stretch.first;
        float col_sums[kPairTerms * simd::kMostStretch] = {};
        bool any_unshared = false;
        for (int64_t row = begin; row < end; ++row) {
          const RowOfStretch of_row(true, row, all.classes.of_x()[row], begin, stretch);
          all.ReduceRow(true, row, of_row.pairs(), first, is_mirrored ? col_sums : nullptr, of(row));
          if (has_unshared)
            any_unshared |= all.ReduceRow(false, row, of_row.pairs(), first, nullptr, of(row));
        }
        if (!is_mirrored) return;
        for (int64_t c = 0; c < stretch.cols; ++c)
          for (int t = 0; t < kPairTerms; ++t)
            if (all.is_shared[t])
              of(first + c)[t].sum += static_cast<double>(col_sums[t * simd::kMostStretch + c]);
        if (!any_unshared) return;
        simd::Rows().transpose(stretch.metrics, kMetricStride, end - begin, stretch.cols, transposed.get(),
                               height);
        for (int64_t c = 0; c < stretch.cols; ++c)
          all.ReduceRow(false, first + c,
                        {RoundUp(end - begin, simd::Rows().panel), transposed.get() + c * height,
                         all.classes.of_x() + begin, all.classes.of_x()[first + c], block.rows_range()},
                        begin, nullptr, of(first + c));
      };
      if (i == j) block.Meet(begin, end, [&](const Stretch& stretch) { reduce(false, stretch); });
      for (int64_t first = i == j ? end : cols.begin; first < cols.end; first += simd::kMostStretch)
        block.Meet(first, std::min(first + simd::kMostStretch, cols.end),
                   [&](const Stretch& stretch) { reduce(true, stretch); });
    }
  });
}

}  // namespace

void ReducePairs(const Executor& executor, const PairProblem& problem, const ReducedPairs& out) {
  Reducing all(executor, problem);
  ReducedRows reduced;
  const auto reduce = [&] {
    reduced.assign(static_cast<size_t>(kPairTerms * all.x.rows), kNothing);
    problem.rows == PairRows::kBatch ? ReduceHalf(executor, all, &reduced)
                                     : ReduceWhole(executor, all, &reduced);
  };
  const auto of = [&](int64_t row) { return &reduced[static_cast<size_t>(kPairTerms * row)]; };
  reduce();
  bool fits = true;
  for (int t = 0; t < kPairTerms; ++t) {
    bool term_fits = true;
    for (int64_t row = 0; row < all.x.rows; ++row) term_fits = term_fits && all.Fits(t, row, of(row)[t].sum);
    fits = fits && term_fits;
    all.is_shared[t] = all.is_shared[t] && term_fits;
  }
  if (!fits) reduce();
  for (int64_t row = 0; row < all.x.rows; ++row) all.Write(row, of(row), out);
}

}  // namespace fslcore
