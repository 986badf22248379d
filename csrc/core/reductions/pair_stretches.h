// SPDX-License-Identifier: MIT
// The pairs of a block of rows, one stretch of columns after another: their metrics and classes.
#pragma once
#include <algorithm>
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

// The metrics of a block of rows with one stretch of columns after another.
//
// Where all terms are of positive pairs, stretches without a column of the rows' classes are left out, as far
// as the least and the greatest class tell: in a batch that is sorted by class, nearly all.
class BlockOfRows {
 public:
  BlockOfRows(const PairProblem& problem, const PairwiseParts& parts, int64_t begin, int64_t end,
              const float* row_classes, const float* col_classes)
      : parts_(parts),
        of_rows_(row_classes + begin, end - begin),
        skips_(std::all_of(problem.terms.begin(), problem.terms.end(),
                           [](const PairTerm& term) {
                             return term.reduction == PairReduction::kNone ||
                                    term.pairs == PairGroup::kPositive;
                           })),
        rows_(parts.PackRows(begin, end)),
        all_classes_(col_classes),
        metrics_((end - begin) * kMetricStride),
        classes_(simd::kMostStretch) {}

  // Calls stretch(first column, columns, columns rounded up to whole panels, metrics [rows, kMetricStride],
  // classes [kMostStretch]) for columns from `first`, the first of a panel, to `last`, at most kMostStretch.
  // `metrics` may be overwritten.
  template <class Stretch>
  void Meet(int64_t first, int64_t last, const Stretch& stretch) const {
    if (skips_ && !of_rows_.Meets(Range(all_classes_ + first, last - first))) return;
    parts_.Compute(rows_, first, last, metrics_.get(), kMetricStride);
    std::copy_n(all_classes_ + first, simd::kMostStretch, classes_.get());
    stretch(first, last - first, RoundUp(last - first, simd::Rows().panel), metrics_.get(), classes_.get());
  }

 private:
  struct Range {  // of classes; NaN counts for nothing
    float least = std::numeric_limits<float>::infinity(), greatest = -least;

    Range(const float* classes, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        if (classes[i] < least) least = classes[i];
        if (classes[i] > greatest) greatest = classes[i];
      }
    }
    bool Meets(const Range& other) const { return least <= other.greatest && other.least <= greatest; }
  };

  const PairwiseParts& parts_;
  Range of_rows_;
  bool skips_;
  PairwiseParts::Rows rows_;
  const float* all_classes_;
  Scratch<float> metrics_, classes_;
};

// All columns.
template <class Stretch>
void ForEachStretch(const PairProblem& problem, const PairwiseParts& parts, int64_t begin, int64_t end,
                    int64_t cols, const float* row_classes, const float* col_classes,
                    const Stretch& stretch) {
  const BlockOfRows block(problem, parts, begin, end, row_classes, col_classes);
  for (int64_t first = 0; first < cols; first += simd::kMostStretch)
    block.Meet(first, std::min(first + simd::kMostStretch, cols), stretch);
}

// The class of a row's own column is NaN while it lives.
class WithoutSelf {
 public:
  WithoutSelf(bool excludes, int64_t row, int64_t first, int64_t cols, float* classes)
      : own_(excludes && row >= first && row < first + cols ? classes + row - first : nullptr) {
    if (own_ == nullptr) return;
    saved_ = *own_;
    *own_ = std::numeric_limits<float>::quiet_NaN();
  }
  ~WithoutSelf() {
    if (own_ != nullptr) *own_ = saved_;
  }
  WithoutSelf(const WithoutSelf&) = delete;
  WithoutSelf& operator=(const WithoutSelf&) = delete;

 private:
  float* own_;
  float saved_ = 0.0f;
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
