// SPDX-License-Identifier: MIT
// The gradient of the triplet loss as a sum over edges of the batch: d loss / d x_i = sum over o of
// w(i, o) (x_i - x_o), w symmetric, with +slope on (anchor, positive) and -slope on (anchor, negative).
#pragma once
#include <cstdint>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/arrays/views.h"
#include "core/episodes/classes.h"
#include "core/threads/parallel.h"

namespace fslcore {

// Edges by anchor. Those to positives are a square per class, so that the mirrored edge is the transposed
// element; a row of it is also the room for the anchor's edges to negatives, which are fewer.
class TripletEdges {
 public:
  TripletEdges(const Classes& classes, const Membership& membership);

  const Classes& classes() const { return classes_; }
  const Membership& membership() const { return membership_; }
  int64_t room() const { return square_.back(); }
  // Rows per block of a parallel loop over the edges of all rows, of `dim` columns: about half a million
  // products.
  int64_t BlockRows(int64_t dim) const;

  // Rows of the anchor: slopes by the positives' rank, 0 at its own; negatives, and the slopes from them.
  float* toward_row(int64_t anchor) const { return toward_.get() + row(anchor); }
  int32_t* negative_row(int64_t anchor) const { return negative_.get() + row(anchor); }
  float* from_row(int64_t anchor) const { return from_.get() + row(anchor); }

  // [size, size] of a class: toward_row of its members, one after the other.
  const float* toward_square(int64_t c) const { return toward_.get() + square_[static_cast<size_t>(c)]; }
  int64_t negatives(int64_t anchor) const { return negatives_[static_cast<size_t>(anchor)]; }
  void SetNegatives(int64_t anchor, int64_t count) {
    negatives_[static_cast<size_t>(anchor)] = static_cast<int32_t>(count);
  }

 private:
  int64_t row(int64_t anchor) const {
    const auto a = static_cast<size_t>(anchor);
    const int32_t c = membership_.class_of[a];
    return square_[static_cast<size_t>(c)] + membership_.rank[a] * classes_.size(c);
  }

  const Classes& classes_;
  const Membership& membership_;
  std::vector<int64_t> square_;     // [classes + 1] where the square of a class starts
  std::vector<int32_t> negatives_;  // [batch] number of edges to negatives
  Scratch<float> toward_, from_;    // [room]
  Scratch<int32_t> negative_;       // [room]
};

class DenseClasses;

// grad [x.rows, x.cols], where every anchor with positives has its edges. Each row gathers its own edges in
// one fixed order, so nothing is scattered across threads. The edges of dense classes are added to their
// mirror images, and the rows of their members hold the sum over their own edges to negatives before.
void GatherGradient(const Executor& executor, Matrix<const float> x, const TripletEdges& edges,
                    const DenseClasses& dense, float* grad);

}  // namespace fslcore
