// SPDX-License-Identifier: MIT
// Classes of many members: their rows lie one after the other, so that all of a class meet a few of its rows
// at a time.
#pragma once
#include <cstdint>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/arrays/views.h"
#include "core/threads/parallel.h"
#include "core/triplets/triplet_edges.h"

namespace fslcore {

class DenseClasses {
 public:
  // Dense are the classes of at least kLeast members without a huge, infinite or NaN entry: a slope of 0
  // takes a row out of a sum only as long as no difference is infinite.
  DenseClasses(const Executor& executor, Matrix<const float> x, const TripletEdges& edges);

  bool has(int64_t c) const { return is_dense_[static_cast<size_t>(c)] != 0; }

  // Writes the squared distances between all members into the squares of the edges.
  void Squares(const Executor& executor, const TripletEdges& edges) const;
  // Has every square hold the slope of the edge and of its mirror image, added.
  void AddMirrored(const Executor& executor, const TripletEdges& edges) const;
  // out [count, dim] = the sums over the positives of `count` members from number `begin` on among all
  // members of the batch, all of one dense class, after AddMirrored.
  void Sums(const TripletEdges& edges, int64_t begin, int64_t count, float* out) const;

 private:
  template <class Visit>
  void ForEachBlock(const Executor& executor, const Classes& classes, const Visit& visit) const;

  static constexpr int64_t kLeast = 24;

  int64_t dim_, padded_;           // columns, and up to the end of the last panel
  std::vector<uint8_t> is_dense_;  // by class
  Scratch<float> rows_, panels_;   // [members, dim]; of each class its panels of columns
};

}  // namespace fslcore
