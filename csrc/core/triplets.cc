// SPDX-License-Identifier: MIT
#include "core/triplets.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/classes.h"
#include "core/gram.h"
#include "core/negative_search.h"
#include "core/scratch.h"
#include "core/simd/kernels.h"
#include "core/triplet_edges.h"

namespace fslcore {
namespace {

// Rows of distances that a thread holds at a time. All of the packed batch passes by for each block of rows,
// so tall blocks save memory traffic: 48 rows, or what fits 8 MB, and at least one register tile. Below about
// half a million products, some 10 us, a block is not worth another thread.
int64_t BlockRows(int64_t batch, int64_t dim) {
  const int64_t worthwhile = (1 << 19) / (batch * std::max<int64_t>(dim, 16));
  return std::clamp<int64_t>((8 << 18) / batch, 6, std::max<int64_t>(48, worthwhile));
}

int64_t RowStride(int64_t batch) { return (batch + kRowPadding - 1) / kRowPadding * kRowPadding; }

int64_t CountPairs(const Classes& classes) {
  int64_t pairs = 0;
  if (classes.count() > 1)
    for (int64_t c = 0; c < classes.count(); ++c) pairs += classes.size(c) * (classes.size(c) - 1);
  return pairs;
}

// Mines anchor after anchor of one block of rows.
class AnchorMiner {
 public:
  AnchorMiner(const Classes& classes, const Membership& membership)
      : classes_(classes), membership_(membership), positive_distances_(classes.members.size()) {}

  // The negatives of the anchor's positives, in their order. Overwrites the row of its distances; `stride`
  // floats can be written.
  void Mine(int64_t anchor, float* distances, int64_t stride, int32_t* negatives) {
    const auto batch = static_cast<int64_t>(classes_.members.size());
    const int64_t own = membership_.class_of[static_cast<size_t>(anchor)], count = classes_.size(own) - 1;
    float* to_positives = positive_distances_.data();
    for (const int32_t* p = classes_.begin(own); p != classes_.end(own); ++p) {
      *to_positives = distances[*p];
      to_positives += *p != anchor ? 1 : 0;
      distances[*p] = std::numeric_limits<float>::quiet_NaN();
    }
    std::fill(distances + batch, distances + stride, std::numeric_limits<float>::quiet_NaN());
    search_.Find(distances, stride, positive_distances_.data(), count, negatives);
    if (negatives[0] < 0) std::fill_n(negatives, count, FirstOfAnotherClass(own));  // all distances are NaN
  }

 private:
  // Classes are in the order of their labels, not of their first members.
  int32_t FirstOfAnotherClass(int64_t own) const {
    const auto& class_of = membership_.class_of;
    const auto other = std::find_if(class_of.begin(), class_of.end(), [own](int32_t c) { return c != own; });
    return static_cast<int32_t>(other - class_of.begin());
  }

  const Classes& classes_;
  const Membership& membership_;
  NegativeSearch search_;
  std::vector<float> positive_distances_;
};

// Writes the negatives of every anchor that has positives to negatives(anchor), one for each positive.
template <class NegativesOf>
void Mine(const Executor& executor, Metric metric, Matrix<const float> x, const Classes& classes,
          const Membership& membership, const NegativesOf& negatives) {
  const GramRows gram(executor, {metric}, x, x);
  const int64_t stride = RowStride(x.rows);
  ParallelFor(executor, x.rows, BlockRows(x.rows, x.cols), [&](int64_t begin, int64_t end) {
    Scratch<float> block((end - begin) * stride);
    AnchorMiner miner(classes, membership);
    gram.Compute(begin, end, block.get(), stride);
    for (int64_t anchor = begin; anchor < end; ++anchor)
      if (classes.size(membership.class_of[static_cast<size_t>(anchor)]) > 1)
        miner.Mine(anchor, block.get() + (anchor - begin) * stride, stride, negatives(anchor));
  });
}

// The distance of two rows and what its gradient with respect to the first is a multiple of: d/dx = slope *
// (x - y).
struct Distance {
  float value, slope;
};

// The metric on rows (normalised ones for cosine) at |x - y|^2 = squared.
struct MetricOfSquares {
  Metric metric;
  const float* norms;  // of the rows before they were normalised (cosine)

  Distance operator()(float squared, int64_t i, int64_t j) const {
    if (metric == Metric::kSqeuclidean) return {squared, 2.0f};
    if (metric == Metric::kCosine) {  // |x - y|^2 / 2 = 1 - <x, y>; a zero row is at 1
      if (norms[i] == 0.0f || norms[j] == 0.0f) return {1.0f, 0.0f};
      return {0.5f * squared, 1.0f};
    }
    const float root = std::sqrt(squared);
    return {root, root == 0.0f ? 0.0f : 1.0f / root};
  }
};

// The terms of one anchor after another.
class AnchorTerms {
 public:
  AnchorTerms(const MetricOfSquares& metric, float margin, float share, Matrix<const float> x,
              TripletEdges& edges)
      : metric_(metric),
        margin_(margin),
        share_(share),
        x_(x),
        edges_(edges),
        place_(x.rows),
        choice_(x.rows),
        active_(x.rows),
        squares_(x.rows),
        to_positives_(x.rows),
        to_negatives_(x.rows) {
    std::fill_n(place_.get(), x.rows, 0);
  }

  // Their sum. Of the edges of the anchor only the mined negatives are there: one for each positive.
  double Evaluate(int64_t anchor) {
    const Classes& classes = edges_.classes();
    const int64_t own = edges_.membership().class_of[static_cast<size_t>(anchor)], size = classes.size(own);
    const int64_t rank = edges_.membership().rank[static_cast<size_t>(anchor)];
    int32_t* negatives = edges_.negative_row(anchor);
    const int64_t distinct = ListDistinct(negatives, size - 1);
    EvaluateRows(anchor, classes.begin(own), size, to_positives_.get());
    EvaluateRows(anchor, negatives, distinct, to_negatives_.get());

    float* toward = edges_.toward_row(anchor);
    std::fill_n(active_.get(), distinct, 0.0f);
    double sum = 0.0;
    for (int64_t p = 0; p < size; ++p) {
      if (p == rank) continue;
      const int32_t choice = choice_[p - (p > rank ? 1 : 0)];
      const float term = to_positives_[p].value - to_negatives_[choice].value + margin_;
      const bool active = !(term <= 0.0f);  // NaN is
      toward[p] = active ? to_positives_[p].slope * share_ : 0.0f;
      active_[choice] += active ? 1.0f : 0.0f;
      sum += active ? term : 0.0f;
    }
    toward[rank] = 0.0f;
    float* from = edges_.from_row(anchor);
    for (int64_t k = 0; k < distinct; ++k)
      from[k] = active_[k] == 0.0f ? 0.0f : active_[k] * (to_negatives_[k].slope * share_);
    edges_.SetNegatives(anchor, distinct);
    return sum;
  }

 private:
  // Positives often share a negative: each is evaluated once and gets one edge. Moves the distinct ones to
  // the front and writes down which of them each pair has; returns their number.
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

  void EvaluateRows(int64_t anchor, const int32_t* rows, int64_t count, Distance* out) {
    Simd().squared_distances(x_.row(anchor), x_.data, x_.cols, rows, count, squares_.get());
    for (int64_t i = 0; i < count; ++i) out[i] = metric_(squares_[i], anchor, rows[i]);
  }

  const MetricOfSquares metric_;
  const float margin_, share_;
  const Matrix<const float> x_;
  TripletEdges& edges_;
  const Scratch<int32_t> place_, choice_;  // [batch] by negative; by pair
  const Scratch<float> active_, squares_;
  const Scratch<Distance> to_positives_, to_negatives_;
};

// Turns the mined negatives into edges; terms [batch] gets the sum of each anchor.
void EvaluateTerms(const Executor& executor, const MetricOfSquares& metric, float margin, float share,
                   Matrix<const float> x, TripletEdges& edges, double* terms) {
  const Classes& classes = edges.classes();
  ParallelFor(executor, x.rows, edges.BlockRows(x.cols), [&](int64_t begin, int64_t end) {
    AnchorTerms anchor_terms(metric, margin, share, x, edges);
    for (int64_t i = begin; i < end; ++i) {
      const int32_t anchor = classes.members[static_cast<size_t>(i)];
      const int32_t own = edges.membership().class_of[static_cast<size_t>(anchor)];
      terms[anchor] = classes.size(own) > 1 ? anchor_terms.Evaluate(anchor) : 0.0;
    }
  });
}

}  // namespace

std::string CheckTriplets(Metric metric, Matrix<const float> x, int64_t labels) {
  if (metric != Metric::kSqeuclidean && metric != Metric::kEuclidean && metric != Metric::kCosine)
    return "metric must be one of sqeuclidean, euclidean, cosine for triplets, received " +
           std::string(kMetricNames[static_cast<size_t>(metric)]);
  if (x.rows != labels)
    return "labels must hold one label per row of x (" + std::to_string(x.rows) + "), received " +
           std::to_string(labels);
  return "";
}

int64_t CountPairs(Vector<const int64_t> labels) { return CountPairs(Classes(labels)); }

void MineSemihard(const Executor& executor, Metric metric, Matrix<const float> x,
                  Vector<const int64_t> labels, int32_t* anchor, int32_t* positive, int32_t* negative) {
  const Classes classes(labels);
  if (CountPairs(classes) == 0) return;
  const Membership membership(classes);
  std::vector<int64_t> first_pair(static_cast<size_t>(x.rows), 0);
  for (size_t a = 1; a < first_pair.size(); ++a)
    first_pair[a] = first_pair[a - 1] + classes.size(membership.class_of[a - 1]) - 1;
  Mine(executor, metric, x, classes, membership,
       [&](int64_t a) { return negative + first_pair[static_cast<size_t>(a)]; });
  for (int64_t a = 0; a < x.rows; ++a) {
    const int64_t own = membership.class_of[static_cast<size_t>(a)];
    const int64_t first = first_pair[static_cast<size_t>(a)];
    std::fill_n(anchor + first, classes.size(own) - 1, static_cast<int32_t>(a));
    std::remove_copy(classes.begin(own), classes.end(own), positive + first, static_cast<int32_t>(a));
  }
}

TripletLoss TripletSemihard(const Executor& executor, Metric metric, float margin, Matrix<const float> x,
                            Vector<const int64_t> labels, float* grad) {
  const Classes classes(labels);
  const int64_t pairs = CountPairs(classes);
  if (pairs == 0) {
    std::fill(grad, grad + x.rows * x.cols, 0.0f);
    return {0.0f, 0};
  }
  const bool cosine = metric == Metric::kCosine;
  Scratch<float> unit(cosine ? x.rows * x.cols : 0), norms(cosine ? x.rows : 0);
  const Membership membership(classes);
  TripletEdges edges(classes, membership);
  Mine(executor, metric, x, classes, membership, [&](int64_t anchor) { return edges.negative_row(anchor); });
  if (cosine) {
    NormaliseRows(executor, x, unit.get(), norms.get());
    x.data = unit.get();
  }

  const float share = 1.0f / static_cast<float>(pairs);
  std::vector<double> terms(static_cast<size_t>(x.rows));  // by anchor, added up in order
  EvaluateTerms(executor, {metric, norms.get()}, margin, share, x, edges, terms.data());
  GatherGradient(executor, x, edges, grad);
  if (cosine) ProjectRows(executor, x, norms.get(), grad);
  double loss = 0.0;
  for (double term : terms) loss += term;
  return {static_cast<float>(loss / static_cast<double>(pairs)), pairs};
}

}  // namespace fslcore
