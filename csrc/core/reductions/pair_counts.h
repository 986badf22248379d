// SPDX-License-Identifier: MIT
#pragma once
#include <cmath>
#include <vector>

#include "core/reductions/pair_stretches.h"

namespace fslcore::reductions {

// How many pairs of a row count, by the classes alone.
class CountsOfClasses {
 public:
  CountsOfClasses(const PairProblem& problem, const PairClasses& classes, int64_t cols)
      : classes_(classes), excludes_self_(problem.rows != PairRows::kApart) {
    for (int64_t c = 0; c < cols; ++c) {
      const float of = classes.of_y()[c];
      if (std::isnan(of)) continue;
      const auto place = static_cast<size_t>(of);
      if (place >= sizes_.size()) sizes_.resize(place + 1, 0.0);
      ++sizes_[place], ++all_;
    }
  }
  double Of(PairGroup group, int64_t row) const {
    const float own = classes_.of_x()[row];
    if (std::isnan(own)) return 0.0;
    const auto place = static_cast<size_t>(own);
    double all = all_, same = place < sizes_.size() ? sizes_[place] : 0.0;
    if (excludes_self_ && !std::isnan(classes_.of_y()[row])) {
      all -= 1.0;
      if (classes_.of_y()[row] == own) same -= 1.0;
    }
    return group == PairGroup::kAll ? all : group == PairGroup::kPositive ? same : all - same;
  }

 private:
  const PairClasses& classes_;
  bool excludes_self_;
  std::vector<double> sizes_;
  double all_ = 0.0;
};

}  // namespace fslcore::reductions
