// SPDX-License-Identifier: MIT
#include "core/triplets/triplets.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/episodes/classes.h"
#include "core/pairwise/pairwise.h"
#include "core/simd/triplet_kernels.h"
#include "core/triplets/dense_classes.h"
#include "core/triplets/mining.h"
#include "core/triplets/term.h"
#include "core/triplets/triplet_edges.h"

namespace fslcore {
namespace {

int64_t CountTriplets(Mining mining, const Classes& classes) {
  int64_t triplets = 0;
  if (classes.count() > 1)
    for (int64_t c = 0; c < classes.count(); ++c)
      if (const int64_t size = classes.size(c); size > 1)
        triplets += IsOfPairs(mining) ? size * (size - 1) : size;
  return triplets;
}

// What the terms of all triplets have in common.
struct Terms {
  Metric metric;
  const float* norms;  // of the rows before they were normalised (cosine)
  float margin;
  float share;            // of a term in the loss
  Matrix<const float> x;  // normalised for cosine

  // Of a row from those that are listed.
  void Distances(int64_t row, const int32_t* listed, const float* squares, int64_t count,
                 SlopedDistance* out) const {
    if (metric == Metric::kSqeuclidean)
      for (int64_t i = 0; i < count; ++i) out[i] = DistanceOfSquare(Metric::kSqeuclidean, squares[i], false);
    else if (metric == Metric::kEuclidean)
      for (int64_t i = 0; i < count; ++i) out[i] = DistanceOfSquare(Metric::kEuclidean, squares[i], false);
    else
      for (int64_t i = 0; i < count; ++i) out[i] = Distance(squares[i], row, listed[i]);
  }
  SlopedDistance Distance(float squared, int64_t i, int64_t j) const {
    const bool has_zero_row = metric == Metric::kCosine && (norms[i] == 0.0f || norms[j] == 0.0f);
    return DistanceOfSquare(metric, squared, has_zero_row);
  }
};

// The terms of the triplets of one anchor after another, by a rule of pairs.
class AnchorTerms {
 public:
  AnchorTerms(const Terms& terms, const DenseClasses& dense, TripletEdges& edges, float* grad)
      : terms_(terms),
        dense_(dense),
        edges_(edges),
        grad_(grad),
        place_(terms.x.rows),
        choice_(terms.x.rows),
        active_(terms.x.rows),
        squares_(terms.x.rows),
        to_positives_(terms.x.rows),
        to_negatives_(terms.x.rows) {
    std::fill_n(place_.get(), terms.x.rows, 0);
  }

  // The sum of the terms of an anchor. Its edges hold the mined negatives on entry, one for each positive,
  // and those of a dense class the squared distances. For such a class the row of the gradient gets the sum
  // over the edges to negatives, which are in the cache.
  double Evaluate(int64_t anchor) {
    const Classes& classes = edges_.classes();
    const int64_t own = edges_.membership().class_of[static_cast<size_t>(anchor)], size = classes.size(own);
    const int64_t rank = edges_.membership().rank[static_cast<size_t>(anchor)];
    const Matrix<const float> x = terms_.x;
    int32_t* negatives = edges_.negative_row(anchor);
    float* toward = edges_.toward_row(anchor);
    const int64_t distinct = ListDistinct(negatives, size - 1);
    if (!dense_.has(own))
      simd::Triplets().squared_distances(x.row(anchor), x.data, x.cols, classes.begin(own), size, toward);
    terms_.Distances(anchor, classes.begin(own), toward, size, to_positives_.get());
    simd::Triplets().squared_distances(x.row(anchor), x.data, x.cols, negatives, distinct, squares_.get());
    terms_.Distances(anchor, negatives, squares_.get(), distinct, to_negatives_.get());

    std::fill_n(active_.get(), distinct, 0);
    double sum = AddTerms(0, rank, choice_.get(), toward, 0.0);
    toward[rank] = 0.0f;
    sum = AddTerms(rank + 1, size, choice_.get() - 1, toward, sum);
    float* from = edges_.from_row(anchor);
    int64_t count = 0;  // of edges that have a slope
    for (int64_t k = 0; k < distinct; ++k) {
      from[count] =
          active_[k] == 0 ? 0.0f : static_cast<float>(active_[k]) * (to_negatives_[k].slope * terms_.share);
      negatives[count] = negatives[k];
      count += from[count] != 0.0f ? 1 : 0;
    }
    edges_.SetNegatives(anchor, count);
    if (dense_.has(own))
      simd::Triplets().weighted_differences(x.row(anchor), x.data, x.cols, negatives, from, count,
                                            grad_ + anchor * x.cols);
    return sum;
  }

 private:
  // Positives often share a negative: each distinct negative is evaluated once and gets one edge. Moves the
  // distinct ones to the front, notes which of them each pair has, and returns their number.
  int64_t ListDistinct(int32_t* negatives, int64_t count) {
    int32_t distinct = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int32_t negative = negatives[i];
      int32_t place = place_[negative];  // of an earlier anchor, unless the list agrees
      if (place >= distinct || negatives[place] != negative) {
        place = place_[negative] = distinct++;
        negatives[place] = negative;
      }
      choice_[i] = place;
    }
    return distinct;
  }

  // Adds the terms of the positives `begin` to `end`, whose negatives are at choice[p]. Without a branch:
  // whether a term is active is hard to predict.
  double AddTerms(int64_t begin, int64_t end, const int32_t* choice, float* toward, double sum) {
    for (int64_t p = begin; p < end; ++p) {
      const TripletTerm term = TermOf(to_positives_[p], to_negatives_[choice[p]], terms_.margin);
      toward[p] = term.toward_positive * terms_.share;
      active_[choice[p]] += term.active ? 1 : 0;
      sum += term.value;
    }
    return sum;
  }

  const Terms& terms_;
  const DenseClasses& dense_;
  TripletEdges& edges_;
  float* grad_;
  const Scratch<int32_t> place_, choice_, active_;  // [batch] by negative; by pair; by distinct negative
  const Scratch<float> squares_;
  const Scratch<SlopedDistance> to_positives_, to_negatives_;
};

// The sum of the terms of a rule of pairs. Triplets that share an (anchor, negative) pair share its edge.
double SumOfPairs(const Executor& executor, const Batch& batch, const Terms& terms, float* grad) {
  const Classes& classes = batch.classes;
  const Matrix<const float> x = terms.x;
  TripletEdges edges(classes, batch.membership);
  MineSemihard(executor, batch, [&](int64_t anchor) { return edges.negative_row(anchor); });
  const DenseClasses dense(executor, x, edges);
  dense.Squares(executor, edges);
  std::vector<double> sums(static_cast<size_t>(x.rows), 0.0);  // by anchor, added up in order
  ParallelFor(executor, x.rows, edges.BlockRows(x.cols), [&](int64_t begin, int64_t end) {
    AnchorTerms anchor_terms(terms, dense, edges, grad);
    for (int64_t i = begin; i < end; ++i) {
      const int32_t anchor = classes.members[static_cast<size_t>(i)];
      if (batch.positives(anchor) > 0) sums[static_cast<size_t>(anchor)] = anchor_terms.Evaluate(anchor);
    }
  });
  GatherGradient(executor, x, edges, dense, grad);
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

// The sum of the terms of a rule that has one for each anchor.
double SumOfAnchors(const Executor& executor, Mining mining, const Batch& batch, const Terms& terms,
                    float* grad) {
  const Matrix<const float> x = terms.x;
  const Scratch<int32_t> positive(x.rows), negative(x.rows);
  MineAnchors(executor, mining, batch, positive.get(), negative.get());
  const Scratch<float> values(x.rows), toward(x.rows), from(x.rows);  // the slopes of active terms
  ParallelFor(executor, x.rows, RowsWorthAThread(2 * x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t a = begin; a < end; ++a) {
      values[a] = toward[a] = from[a] = 0.0f;
      if (positive[a] < 0) continue;
      const int32_t rows[2] = {positive[a], negative[a]};
      float squares[2];
      simd::Triplets().squared_distances(x.row(a), x.data, x.cols, rows, 2, squares);
      const TripletTerm term = TermOf(terms.Distance(squares[0], a, rows[0]),
                                      terms.Distance(squares[1], a, rows[1]), terms.margin);
      values[a] = term.value;
      toward[a] = term.toward_positive * terms.share;
      from[a] = term.from_negative * terms.share;
    }
  });
  // Threads take different columns, and all anchors in their order.
  ParallelFor(
      executor, x.cols, RoundUp(DivideUp(x.cols, 8), simd::kRowPadding), [&](int64_t begin, int64_t end) {
        const auto add = [&](int64_t row, int64_t other, float slope) {  // slope * (row - other), to both
          for (int64_t d = begin; d < end; ++d) {
            const float part = slope * (x.row(row)[d] - x.row(other)[d]);
            grad[row * x.cols + d] += part;
            grad[other * x.cols + d] -= part;
          }
        };
        for (int64_t row = 0; row < x.rows; ++row)
          std::fill(grad + row * x.cols + begin, grad + row * x.cols + end, 0.0f);
        for (int64_t a = 0; a < x.rows; ++a) {
          if (toward[a] != 0.0f) add(a, positive[a], toward[a]);
          if (from[a] != 0.0f) add(a, negative[a], -from[a]);
        }
      });
  return std::accumulate(values.get(), values.get() + x.rows, 0.0);
}

// A row without a length, for one of its entries is no number, has a gradient of 0 if it is in no triplet,
// as under the other metrics. ProjectRows gives it to rows of length 0.
void IgnoreUntouchedRows(Matrix<const float> x, float* norms, const float* grad) {
  for (int64_t row = 0; row < x.rows; ++row) {
    const float* of_row = grad + row * x.cols;
    if (std::isnan(norms[row]) && std::all_of(of_row, of_row + x.cols, [](float g) { return g == 0.0f; }))
      norms[row] = 0.0f;
  }
}

void ListPairs(const Executor& executor, const Batch& batch, int32_t* anchor, int32_t* positive,
               int32_t* negative) {
  const int64_t rows = batch.x.rows;
  std::vector<int64_t> first(static_cast<size_t>(rows) + 1, 0);  // triplet of an anchor
  for (int64_t a = 0; a < rows; ++a)
    first[static_cast<size_t>(a) + 1] = first[static_cast<size_t>(a)] + batch.positives(a);
  MineSemihard(executor, batch, [&](int64_t a) { return negative + first[static_cast<size_t>(a)]; });
  for (int64_t a = 0; a < rows; ++a) {
    const int64_t own = batch.class_of(a), at = first[static_cast<size_t>(a)];
    std::fill_n(anchor + at, batch.positives(a), static_cast<int32_t>(a));
    std::remove_copy(batch.classes.begin(own), batch.classes.end(own), positive + at,
                     static_cast<int32_t>(a));
  }
}

void ListAnchors(const Executor& executor, Mining mining, const Batch& batch, int32_t* anchor,
                 int32_t* positive, int32_t* negative) {
  const int64_t rows = batch.x.rows;
  const Scratch<int32_t> positive_of(rows), negative_of(rows);
  MineAnchors(executor, mining, batch, positive_of.get(), negative_of.get());
  for (int64_t a = 0; a < rows; ++a) {
    if (positive_of[a] < 0) continue;
    *anchor++ = static_cast<int32_t>(a);
    *positive++ = positive_of[a];
    *negative++ = negative_of[a];
  }
}

}  // namespace

std::string CheckTriplets(Metric metric, const Sizes& x, const Sizes& labels) {
  const std::string problem = FirstOf({CheckAxes("x", x, 2), CheckAxes("labels", labels, 1)});
  if (!problem.empty()) return problem;
  if (std::find(kTripletMetrics.begin(), kTripletMetrics.end(), metric) == kTripletMetrics.end())
    return "metric must be one of sqeuclidean, euclidean, cosine for triplets, received " +
           std::string(kMetricNames[static_cast<size_t>(metric)]);
  if (x[0] != labels[0])
    return "labels must hold one label per row of x (" + std::to_string(x[0]) + "), received " +
           std::to_string(labels[0]);
  if (x[0] > kMostPositions) return "x must have fewer than 2^31 rows, received shape " + ShapeText(x);
  return "";
}

int64_t CountTriplets(Mining mining, Vector<const int64_t> labels) {
  return CountTriplets(mining, Classes(labels));
}

void MineTriplets(const Executor& executor, Mining mining, Metric metric, Matrix<const float> x,
                  Vector<const int64_t> labels, int32_t* anchor, int32_t* positive, int32_t* negative) {
  const Classes classes(labels);
  if (CountTriplets(mining, classes) == 0) return;
  const Membership membership(classes);
  const Batch batch = {metric, x, classes, membership};
  if (IsOfPairs(mining))
    ListPairs(executor, batch, anchor, positive, negative);
  else
    ListAnchors(executor, mining, batch, anchor, positive, negative);
}

TripletLoss TripletLossAndGrad(const Executor& executor, Mining mining, Metric metric, float margin,
                               Matrix<const float> x, Vector<const int64_t> labels, float* grad) {
  const Classes classes(labels);
  const int64_t triplets = CountTriplets(mining, classes);
  if (triplets == 0) {
    std::fill(grad, grad + x.rows * x.cols, 0.0f);
    return {0.0f, 0};
  }
  const Membership membership(classes);
  const Batch batch = {metric, x, classes, membership};
  const bool cosine = metric == Metric::kCosine;
  const Scratch<float> unit(cosine ? x.rows * x.cols : 0), norms(cosine ? x.rows : 0);
  if (cosine) NormaliseRows(executor, x, unit.get(), norms.get());
  const Terms terms = {metric,
                       norms.get(),
                       margin,
                       1.0f / static_cast<float>(triplets),
                       {cosine ? unit.get() : x.data, x.rows, x.cols}};
  const double sum = IsOfPairs(mining) ? SumOfPairs(executor, batch, terms, grad)
                                       : SumOfAnchors(executor, mining, batch, terms, grad);
  if (cosine) {
    IgnoreUntouchedRows(x, norms.get(), grad);
    ProjectRows(executor, terms.x, norms.get(), grad);
  }
  return {static_cast<float>(sum / static_cast<double>(triplets)), triplets};
}

}  // namespace fslcore
