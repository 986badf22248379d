// SPDX-License-Identifier: MIT
// The search for the negatives of all anchors of a batch at once, in tiles of the symmetric half of the
// distance matrix. Each tile is searched for its rows and for its columns, and is never stored.
#pragma once
#include <cstdint>

#include "core/arrays/scratch.h"
#include "core/pairwise/pairwise.h"
#include "core/threads/parallel.h"

namespace fslcore {

class BeyondSearch {
 public:
  // Each row may get up to `most_limits`. Memory: 8 bytes for each and for each thread that searches.
  BeyondSearch(int64_t batch, int64_t most_limits);

  // The limits of a row are numbered in the order in which they are added. Nothing is beyond a NaN. Different
  // rows may be added in parallel.
  void AddLimit(int64_t row, float limit);
  void AddNoLimit(int64_t row);  // any row of another class will do

  // `parts` of the batch with itself, of distances that are +0 or above; class_of [batch].
  void Run(const Executor& executor, const PairwiseParts& parts, const int32_t* class_of);

  // The nearest row of another class strictly beyond the limit, of equals the first; -1 if there is none.
  int32_t nearest(int64_t row, int64_t limit) const { return nearest_[limit * stride_ + row]; }

 private:
  void Add(int64_t row, uint32_t beyond);
  int64_t MostLimits(int64_t begin, int64_t end) const;
  void SearchRows(const PairwiseParts& parts, const int32_t* class_of, int64_t begin, int64_t end,
                  uint32_t* excess, int32_t* nearest) const;

  const int64_t batch_, stride_, size_;  // stride_ and size_ as in BeyondBlock, and in all
  Scratch<int32_t> limits_;              // [batch]
  Scratch<uint32_t> beyond_, excess_;    // [most_limits, stride]; excess_ is what a candidate must stay below
  Scratch<int32_t> nearest_;             // [most_limits, stride]
};

}  // namespace fslcore
