// SPDX-License-Identifier: MIT
// The pairs of a block of rows, one stretch of columns after another: their metrics and classes.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/pairwise/pairwise.h"
#include "core/reductions/pair_reduction.h"
#include "core/simd/reduction_kernels.h"
#include "core/simd/row_kernels.h"

namespace fslcore::reductions {

// Rows that meet a stretch together: their metrics take 96 KB.
inline constexpr int64_t kTallestBlock = 96;
// Between the metrics of two rows: with a power of two between them, the metrics of a column would share a
// few sets of the L1 cache.
inline constexpr int64_t kMetricStride = simd::kMostStretch + 16;

// Equal heights, a multiple of `multiple`, at least eight blocks if there are rows enough; a function of the
// shape alone.
inline int64_t BlockRows(int64_t rows, int64_t multiple) {
  const int64_t blocks = std::max<int64_t>(1, RoundUp(DivideUp(rows, kTallestBlock), 8));
  return RoundUp(std::max<int64_t>(1, DivideUp(rows, blocks)), multiple);
}
inline int64_t BlockRows(int64_t rows) { return BlockRows(rows, simd::Rows().tile_rows); }

// Labels as numbers in their order, the same for both sides; NaN for 0, and behind the last one up to a
// stretch.
class PairClasses {
 public:
  PairClasses(const int64_t* x, int64_t x_rows, const int64_t* y, int64_t y_rows)
      : of_x_(x_rows + simd::kMostStretch), of_y_(y_rows + simd::kMostStretch) {
    std::vector<int64_t> known(x, x + x_rows);
    if (y != x) known.insert(known.end(), y, y + y_rows);
    std::sort(known.begin(), known.end());
    known.erase(std::unique(known.begin(), known.end()), known.end());
    Fill(known, x, x_rows, of_x_.get());
    Fill(known, y, y_rows, of_y_.get());
  }
  const float* of_x() const { return of_x_.get(); }
  const float* of_y() const { return of_y_.get(); }

 private:
  static void Fill(const std::vector<int64_t>& known, const int64_t* labels, int64_t rows, float* classes) {
    constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
    for (int64_t i = 0; i < rows; ++i)
      classes[i] =
          labels[i] == 0
              ? kNone
              : static_cast<float>(std::lower_bound(known.begin(), known.end(), labels[i]) - known.begin());
    std::fill_n(classes + rows, simd::kMostStretch, kNone);
  }

  Scratch<float> of_x_, of_y_;
};

inline simd::ClassRange RangeOf(const float* classes, int64_t count) {
  simd::ClassRange range = {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                            false};
  for (int64_t i = 0; i < count; ++i) {
    range.has_gaps |= std::isnan(classes[i]);
    if (classes[i] < range.least) range.least = classes[i];
    if (classes[i] > range.greatest) range.greatest = classes[i];
  }
  return range;
}

// Columns that a block of rows meets together.
struct Stretch {
  int64_t first, cols, padded;  // padded: cols rounded up to whole panels
  float* metrics;               // [rows, kMetricStride], may be overwritten
  float* classes;               // [kMostStretch]
  simd::ClassRange range;       // of the padded columns
};

// The metrics of a block of rows with one stretch of columns after another.
//
// Where all terms are of positive pairs, stretches without a column of the rows' classes are left out, as far
// as the least and the greatest class tell: in a batch that is sorted by class, nearly all.
class BlockOfRows {
 public:
  BlockOfRows(const PairProblem& problem, const PairwiseParts& parts, int64_t begin, int64_t end,
              const float* row_classes, const float* col_classes)
      : parts_(parts),
        rows_range_(RangeOf(row_classes + begin, RoundUp(end - begin, simd::Rows().panel))),
        skips_(std::all_of(problem.terms.begin(), problem.terms.end(),
                           [](const PairTerm& term) {
                             return term.reduction == PairReduction::kNone ||
                                    term.pairs == PairGroup::kPositive;
                           })),
        rows_(parts.PackRows(begin, end)),
        all_classes_(col_classes),
        metrics_((end - begin) * kMetricStride),
        classes_(simd::kMostStretch) {}

  // Calls use(Stretch) for columns from `first`, the first of a panel, to `last`, at most kMostStretch.
  template <class Use>
  void Meet(int64_t first, int64_t last, const Use& use) const {
    const int64_t cols = last - first, padded = RoundUp(cols, simd::Rows().panel);
    const simd::ClassRange range = RangeOf(all_classes_ + first, padded);
    if (skips_ && !(rows_range_.least <= range.greatest && range.least <= rows_range_.greatest)) return;
    parts_.Compute(rows_, first, last, metrics_.get(), kMetricStride);
    std::copy_n(all_classes_ + first, simd::kMostStretch, classes_.get());
    use(Stretch{first, cols, padded, metrics_.get(), classes_.get(), range});
  }
  // Of the rows, their number rounded up to whole panels.
  const simd::ClassRange& rows_range() const { return rows_range_; }

 private:
  const PairwiseParts& parts_;
  simd::ClassRange rows_range_;
  bool skips_;
  PairwiseParts::Rows rows_;
  const float* all_classes_;
  Scratch<float> metrics_, classes_;
};

// All columns.
template <class Use>
void ForEachStretch(const PairProblem& problem, const PairwiseParts& parts, int64_t begin, int64_t end,
                    int64_t cols, const float* row_classes, const float* col_classes, const Use& use) {
  const BlockOfRows block(problem, parts, begin, end, row_classes, col_classes);
  for (int64_t first = 0; first < cols; first += simd::kMostStretch)
    block.Meet(first, std::min(first + simd::kMostStretch, cols), use);
}

// A row of the block that begins at row `begin` with the columns of a stretch. Where a row forms no pair with
// itself, the class of its own column is NaN while this lives.
class RowOfStretch {
 public:
  RowOfStretch(bool excludes_self, int64_t row, float row_class, int64_t begin, const Stretch& stretch)
      : own_(excludes_self && row >= stretch.first && row < stretch.first + stretch.cols
                 ? stretch.classes + row - stretch.first
                 : nullptr),
        pairs_{stretch.padded, stretch.metrics + (row - begin) * kMetricStride, stretch.classes, row_class,
               stretch.range} {
    if (own_ == nullptr) return;
    saved_ = *own_;
    *own_ = std::numeric_limits<float>::quiet_NaN();
    pairs_.range.has_gaps = true;
  }
  ~RowOfStretch() {
    if (own_ != nullptr) *own_ = saved_;
  }
  RowOfStretch(const RowOfStretch&) = delete;
  RowOfStretch& operator=(const RowOfStretch&) = delete;
  const simd::PairStretch& pairs() const { return pairs_; }

 private:
  float* own_;
  float saved_ = 0.0f;
  simd::PairStretch pairs_;
};

inline PairwiseKernel KernelOf(const PairProblem& problem) {
  PairwiseKernel kernel;
  kernel.metric = problem.metric;
  kernel.weights = problem.weights;
  return kernel;
}

inline PairParameters ParametersOf(const PairProblem& problem, int term) {
  const float* p = problem.parameters + term * kPairParameters;
  return {p[0], p[1], p[2], p[3]};
}

// Where there are levels that limit what counts.
inline bool IsLimited(const PairProblem& problem, int term) {
  return problem.levels != nullptr &&
         problem.terms[static_cast<size_t>(term)].function != PairFunction::kLifted;
}

}  // namespace fslcore::reductions
