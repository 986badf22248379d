// SPDX-License-Identifier: MIT
// In which order groups of rows meet. In a round no two tasks have a group in common: what is added up for
// the rows of both sides needs no copies, and its order does not depend on the threads.
#pragma once
#include <algorithm>

#include "core/reductions/pair_stretches.h"

namespace fslcore::reductions {

struct RowRange {
  int64_t begin, end;
};

// Groups of at least 256 rows, or of 64 where there would be fewer than eight; whole panels.
class RowGroups {
 public:
  explicit RowGroups(int64_t rows, int64_t most = 32)
      : rows_(rows),
        size_(RoundUp(std::max<int64_t>(1, DivideUp(rows, Wanted(rows, most))), simd::Rows().panel)) {}
  int64_t count() const { return DivideUp(rows_, size_); }
  RowRange of(int64_t group) const { return {group * size_, std::min((group + 1) * size_, rows_)}; }

 private:
  static int64_t Wanted(int64_t rows, int64_t most) {
    return std::max<int64_t>(
        {1, std::min(rows / 64, std::min<int64_t>(8, most)), std::min(rows / 256, most)});
  }

  int64_t rows_, size_;
};

// Rows of a group that meet a stretch of columns together: equal heights of whole panels.
inline int64_t HeightOf(RowRange rows) {
  const int64_t count = rows.end - rows.begin;
  return RoundUp(DivideUp(count, std::max<int64_t>(1, DivideUp(count, kTallestBlock))), simd::Rows().panel);
}

// meet(i, j) for each two of the groups and for each with itself: a tournament (the circle method).
template <class Meet>
void ForEachTwo(const Executor& executor, int64_t groups, const Meet& meet) {
  ParallelFor(executor, groups, 1, [&](int64_t i, int64_t) { meet(i, i); });
  const int64_t places = RoundUp(groups, 2), ring = places - 1;  // an odd group rests
  for (int64_t round = 0; groups > 1 && round < ring; ++round)
    ParallelFor(executor, places / 2, 1, [&](int64_t task, int64_t) {
      const int64_t a = task == 0 ? places - 1 : (round + task) % ring, b = (round - task + ring) % ring;
      if (std::max(a, b) < groups) meet(std::min(a, b), std::max(a, b));
    });
}

// meet(i, j) for each of the groups of one side with each of the other side.
template <class Meet>
void ForEachOfBoth(const Executor& executor, int64_t groups, int64_t others, const Meet& meet) {
  const int64_t rounds = std::max(groups, others);
  for (int64_t round = 0; round < rounds; ++round)
    ParallelFor(executor, std::min(groups, others), 1, [&](int64_t task, int64_t) {
      const int64_t turned = (task + round) % rounds;
      groups <= others ? meet(task, turned) : meet(turned, task);
    });
}

}  // namespace fslcore::reductions
