// SPDX-License-Identifier: MIT
#include "core/triplets.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "core/classes.h"
#include "core/gram.h"
#include "core/scratch.h"
#include "core/simd/kernels.h"

namespace fslcore {
namespace {

// A scan of the row for one positive costs a few vector operations per 16 distances, about 0.1 ns each;
// sorting the row once, about 60 ns each. Sorting bounds the work to O(batch^2 log batch).
constexpr int64_t kMostScannedPositives = 512;

// Rows of distances that a thread holds at a time. All of the packed batch passes by for each block of rows,
// so tall blocks save memory traffic: 48 rows, or what fits 8 MB, and at least one register tile.
int64_t BlockRows(int64_t batch) {
  return std::clamp<int64_t>((8 << 18) / std::max<int64_t>(1, batch), 6, 48);
}

// The (anchor, positive) pairs in the order of the public interface: by anchor, then by positive.
struct Pairs {
  const Classes& classes;
  std::vector<int32_t> class_of;  // [batch]
  std::vector<int64_t> first;     // [batch + 1] number of the first pair of each anchor

  explicit Pairs(const Classes& c) : classes(c), class_of(c.members.size()), first(c.members.size() + 1, 0) {
    for (int64_t i = 0; i < c.count(); ++i)
      for (const int32_t* member = c.begin(i); member != c.end(i); ++member)
        class_of[static_cast<size_t>(*member)] = static_cast<int32_t>(i);
    for (size_t a = 0; a < class_of.size(); ++a)
      first[a + 1] = first[a] + (c.count() < 2 ? 0 : c.size(class_of[a]) - 1);
  }
  int64_t count() const { return first.back(); }
  bool any(int64_t anchor) const {
    return first[static_cast<size_t>(anchor) + 1] > first[static_cast<size_t>(anchor)];
  }

  // Calls visit(pair, positive) for the positives of an anchor.
  template <class Visit>
  void ForEach(int64_t anchor, const Visit& visit) const {
    int64_t pair = first[static_cast<size_t>(anchor)];
    if (!any(anchor)) return;
    const int64_t c = class_of[static_cast<size_t>(anchor)];
    for (const int32_t* p = classes.begin(c); p != classes.end(c); ++p)
      if (*p != anchor) visit(pair++, *p);
  }

  // The number of the pair (anchor, positive).
  int64_t Number(int64_t anchor, int64_t positive) const {
    const int64_t c = class_of[static_cast<size_t>(anchor)];
    const int64_t rank = std::lower_bound(classes.begin(c), classes.end(c), positive) - classes.begin(c);
    return first[static_cast<size_t>(anchor)] + rank - (positive > anchor ? 1 : 0);
  }
};

// Finds the negatives of one anchor after another in a row of its distances, in which it and its positives
// have been overwritten with NaN.
class NegativeSearch {
 public:
  NegativeSearch(const float* distances, int64_t batch, int64_t positives)
      : distances_(distances), batch_(batch) {
    farthest_ = Simd().farthest(distances, batch);
    if (positives <= kMostScannedPositives) return;
    sorted_.reserve(static_cast<size_t>(batch));
    for (int64_t n = 0; n < batch; ++n)
      if (!std::isnan(distances[n])) sorted_.push_back({distances[n], static_cast<int32_t>(n)});
    std::sort(sorted_.begin(), sorted_.end());
  }

  // -1 only if every distance is NaN.
  int64_t Find(float positive_distance) const {
    int64_t nearest = -1;
    if (sorted_.empty()) {
      nearest = Simd().nearest_above(distances_, batch_, positive_distance);
    } else if (!std::isnan(positive_distance)) {
      const std::pair<float, int32_t> last_equal{positive_distance, std::numeric_limits<int32_t>::max()};
      const auto above = std::upper_bound(sorted_.begin(), sorted_.end(), last_equal);
      if (above != sorted_.end()) nearest = above->second;
    }
    return nearest >= 0 ? nearest : farthest_;
  }

 private:
  const float* distances_;
  int64_t batch_;
  int64_t farthest_;
  std::vector<std::pair<float, int32_t>> sorted_;
};

// Calls visit(anchor, pair, positive, negative) for every pair; the pairs of one anchor come from one thread.
template <class Visit>
void Mine(const Executor& executor, const GramRows& gram, const Pairs& pairs, const Visit& visit) {
  const int64_t batch = static_cast<int64_t>(pairs.classes.members.size());
  const Classes& classes = pairs.classes;
  ParallelFor(executor, batch, BlockRows(batch), [&](int64_t begin, int64_t end) {
    Scratch<float> block((end - begin) * batch);
    std::vector<float> positive_distances;
    gram.Compute(begin, end, block.get(), batch);
    for (int64_t anchor = begin; anchor < end; ++anchor) {
      if (!pairs.any(anchor)) continue;
      float* distances = block.get() + (anchor - begin) * batch;
      positive_distances.clear();
      pairs.ForEach(anchor,
                    [&](int64_t, int32_t positive) { positive_distances.push_back(distances[positive]); });
      const int64_t own = pairs.class_of[static_cast<size_t>(anchor)];
      for (int64_t i = 0; i < classes.size(own); ++i)
        distances[classes.begin(own)[i]] = std::numeric_limits<float>::quiet_NaN();

      const NegativeSearch search(distances, batch, static_cast<int64_t>(positive_distances.size()));
      size_t next = 0;
      pairs.ForEach(anchor, [&](int64_t pair, int32_t positive) {
        int64_t negative = search.Find(positive_distances[next++]);
        if (negative < 0)  // every distance is NaN: the lowest index of another class
          for (negative = 0; pairs.class_of[static_cast<size_t>(negative)] == own;) ++negative;
        visit(anchor, pair, positive, static_cast<int32_t>(negative));
      });
    }
  });
}

// The distance of two rows and what its gradient with respect to the first is a multiple of: d/dx = slope *
// (x - y).
struct Distance {
  float value, slope;
};

Distance Evaluate(Metric metric, Matrix<const float> x, const float* norms, int64_t i, int64_t j) {
  const float squared = Simd().squared_distance(x.row(i), x.row(j), x.cols);
  if (metric == Metric::kSqeuclidean) return {squared, 2.0f};
  if (metric == Metric::kCosine) {  // on normalised rows |x - y|^2 / 2 = 1 - <x, y>; a zero row is at 1
    if (norms[i] == 0.0f || norms[j] == 0.0f) return {1.0f, 0.0f};
    return {0.5f * squared, 1.0f};
  }
  const float root = std::sqrt(squared);
  return {root, root == 0.0f ? 0.0f : 1.0f / root};
}

struct Triplet {
  int32_t negative;
  float toward_positive, from_negative;  // slopes over the number of pairs; both 0 if the term is inactive
};

// The gradient is a sum over edges: d loss / d x_i = sum_o w(i, o) (x_i - x_o), w symmetric, with
// +toward_positive on (anchor, positive) and -from_negative on (anchor, negative). Each row gathers its own
// edges, in one fixed order, so nothing is scattered across threads.
void GatherGradient(const Executor& executor, Matrix<const float> x, const Pairs& pairs,
                    const std::vector<Triplet>& triplets, float* grad) {
  const int64_t batch = x.rows;
  // For each row, the anchors that chose it as a negative.
  std::vector<int64_t> first(static_cast<size_t>(batch) + 1, 0);
  for (const Triplet& t : triplets)
    if (t.from_negative != 0.0f) ++first[static_cast<size_t>(t.negative) + 1];
  for (size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
  struct Edge {
    int32_t anchor;
    float weight;
  };
  std::vector<Edge> chosen_by(static_cast<size_t>(first.back()));
  std::vector<int64_t> next(first.begin(), first.end() - 1);
  for (int64_t anchor = 0; anchor < batch; ++anchor)
    pairs.ForEach(anchor, [&](int64_t pair, int32_t) {
      const Triplet& t = triplets[static_cast<size_t>(pair)];
      if (t.from_negative != 0.0f)
        chosen_by[static_cast<size_t>(next[static_cast<size_t>(t.negative)]++)] = {
            static_cast<int32_t>(anchor), t.from_negative};
    });

  ParallelFor(executor, batch, 64, [&](int64_t begin, int64_t end) {
    std::vector<float> weights(static_cast<size_t>(batch),
                               0.0f);  // edges to one neighbour are added up first
    std::vector<int32_t> neighbours;
    const auto add = [&](int32_t other, float weight) {
      if (weight == 0.0f) return;
      float& total = weights[static_cast<size_t>(other)];
      if (total == 0.0f) neighbours.push_back(other);
      total += weight;
    };
    for (int64_t i = begin; i < end; ++i) {
      pairs.ForEach(i, [&](int64_t pair, int32_t positive) {
        const Triplet& own = triplets[static_cast<size_t>(pair)];
        const Triplet& mirrored = triplets[static_cast<size_t>(pairs.Number(positive, i))];
        add(positive, own.toward_positive + mirrored.toward_positive);
        add(own.negative, -own.from_negative);
      });
      for (int64_t e = first[static_cast<size_t>(i)]; e < first[static_cast<size_t>(i) + 1]; ++e)
        add(chosen_by[static_cast<size_t>(e)].anchor, -chosen_by[static_cast<size_t>(e)].weight);

      float* g = grad + i * x.cols;
      std::fill(g, g + x.cols, 0.0f);
      for (int32_t other : neighbours) {
        const float weight = std::exchange(weights[static_cast<size_t>(other)], 0.0f);
        if (weight != 0.0f) Simd().difference(weight, x.row(i), x.row(other), g, x.cols);
      }
      neighbours.clear();
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

int64_t CountPairs(Vector<const int64_t> labels) { return Pairs(Classes(labels)).count(); }

void MineSemihard(const Executor& executor, Metric metric, Matrix<const float> x,
                  Vector<const int64_t> labels, int32_t* anchor, int32_t* positive, int32_t* negative) {
  const Classes classes(labels);
  const Pairs pairs(classes);
  if (pairs.count() == 0) return;
  const GramRows gram(executor, {metric}, x, x);
  Mine(executor, gram, pairs, [&](int64_t a, int64_t pair, int32_t p, int32_t n) {
    anchor[pair] = static_cast<int32_t>(a);
    positive[pair] = p;
    negative[pair] = n;
  });
}

TripletLoss TripletSemihard(const Executor& executor, Metric metric, float margin, Matrix<const float> x,
                            Vector<const int64_t> labels, float* grad) {
  const Classes classes(labels);
  const Pairs pairs(classes);
  if (pairs.count() == 0) {
    std::fill(grad, grad + x.rows * x.cols, 0.0f);
    return {0.0f, 0};
  }
  const bool cosine = metric == Metric::kCosine;
  Scratch<float> unit(cosine ? x.rows * x.cols : 0), norms(cosine ? x.rows : 0);
  const GramRows gram(executor, {metric}, x, x);
  if (cosine) {
    NormaliseRows(executor, x, unit.get(), norms.get());
    x.data = unit.get();
  }

  const float share = 1.0f / static_cast<float>(pairs.count());
  std::vector<Triplet> triplets(static_cast<size_t>(pairs.count()));
  std::vector<double> terms(static_cast<size_t>(x.rows), 0.0);  // by anchor, added up in order
  Mine(executor, gram, pairs, [&](int64_t anchor, int64_t pair, int32_t positive, int32_t negative) {
    const Distance to_positive = Evaluate(metric, x, norms.get(), anchor, positive);
    const Distance to_negative = Evaluate(metric, x, norms.get(), anchor, negative);
    const float term = to_positive.value - to_negative.value + margin;
    if (term <= 0.0f) {
      triplets[static_cast<size_t>(pair)] = {negative, 0.0f, 0.0f};
      return;
    }
    triplets[static_cast<size_t>(pair)] = {negative, to_positive.slope * share, to_negative.slope * share};
    terms[static_cast<size_t>(anchor)] += term;
  });
  GatherGradient(executor, x, pairs, triplets, grad);
  if (cosine) ProjectRows(executor, x, norms.get(), grad);
  double loss = 0.0;
  for (double term : terms) loss += term;
  return {static_cast<float>(loss / static_cast<double>(pairs.count())), pairs.count()};
}

}  // namespace fslcore
