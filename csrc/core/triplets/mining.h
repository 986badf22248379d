// SPDX-License-Identifier: MIT
// The search for the triplets of a batch; triplets.h defines them and their ties.
#pragma once
#include <cstdint>
#include <functional>

#include "core/arrays/views.h"
#include "core/episodes/classes.h"
#include "core/pairwise/metric.h"
#include "core/threads/parallel.h"
#include "core/triplets/triplets.h"

namespace fslcore {

struct Batch {
  Metric metric;
  Matrix<const float> x;
  const Classes& classes;  // at least two
  const Membership& membership;

  int64_t class_of(int64_t row) const { return membership.class_of[static_cast<size_t>(row)]; }
  int64_t rank(int64_t row) const { return membership.rank[static_cast<size_t>(row)]; }
  int64_t positives(int64_t row) const { return classes.size(class_of(row)) - 1; }
};

// For each anchor that has positives, the semi-hard negatives of its positives, in their order, at
// negatives(anchor).
void MineSemihard(const Executor& executor, const Batch& batch,
                  const std::function<int32_t*(int64_t anchor)>& negatives);

// By a rule that is not of pairs: for each anchor that has positives, the one that the rule chooses and the
// nearest negative; -1 for the others. Both [batch].
void MineAnchors(const Executor& executor, Mining mining, const Batch& batch, int32_t* positive,
                 int32_t* negative);

}  // namespace fslcore
