// SPDX-License-Identifier: MIT
#include "core/triplets/triplet_edges.h"

#include <algorithm>
#include <utility>

#include "core/simd/triplet_kernels.h"
#include "core/triplets/dense_classes.h"

namespace fslcore {
namespace {

std::vector<int64_t> SquareOffsets(const Classes& classes) {
  std::vector<int64_t> offsets(static_cast<size_t>(classes.count()) + 1, 0);
  for (int64_t c = 0; c < classes.count(); ++c)
    offsets[static_cast<size_t>(c) + 1] = offsets[static_cast<size_t>(c)] + classes.size(c) * classes.size(c);
  return offsets;
}

// The edges to negatives once more, by negative and then by anchor: a counting sort in up to eight ranges of
// anchors, each counted and placed by one thread.
class MirroredNegatives {
 public:
  MirroredNegatives(const Executor& executor, const TripletEdges& edges, int64_t batch)
      : first_(static_cast<size_t>(batch) + 1) {
    const int64_t ranges = std::clamp<int64_t>(edges.room() >> 16, 1, 8);
    const int64_t range = DivideUp(batch, ranges);
    std::vector<int64_t> next(static_cast<size_t>(ranges * batch), 0);  // of a range and a negative
    const auto for_each_edge = [&](int64_t begin, int64_t end, const auto& visit) {
      int64_t* of_range = next.data() + begin / range * batch;
      for (int64_t anchor = begin; anchor < end; ++anchor) {
        const int32_t* negative = edges.negative_row(anchor);
        const float* from = edges.from_row(anchor);
        for (int64_t k = 0; k < edges.negatives(anchor); ++k)
          visit(of_range[negative[k]], static_cast<int32_t>(anchor), from[k]);
      }
    };
    ParallelFor(executor, batch, range, [&](int64_t begin, int64_t end) {
      for_each_edge(begin, end, [](int64_t& count, int32_t, float) { ++count; });
    });
    int64_t total = 0;
    for (int64_t negative = 0; negative < batch; ++negative) {
      first_[static_cast<size_t>(negative)] = total;
      for (int64_t r = 0; r < ranges; ++r) {
        int64_t& at = next[static_cast<size_t>(r * batch + negative)];
        total += std::exchange(at, total);
      }
    }
    first_.back() = total;
    edges_ = Scratch<Edge>(total);
    ParallelFor(executor, batch, range, [&](int64_t begin, int64_t end) {
      for_each_edge(begin, end,
                    [this](int64_t& at, int32_t anchor, float from) { edges_[at++] = {anchor, from}; });
    });
  }

  int64_t count(int64_t negative) const {
    return first_[static_cast<size_t>(negative) + 1] - first_[static_cast<size_t>(negative)];
  }
  template <class Visit>
  void ForEach(int64_t negative, const Visit& visit) const {
    for (int64_t k = first_[static_cast<size_t>(negative)]; k < first_[static_cast<size_t>(negative) + 1];
         ++k)
      visit(edges_[k].anchor, edges_[k].from);
  }

 private:
  struct Edge {
    int32_t anchor;
    float from;
  };
  std::vector<int64_t> first_;  // [batch + 1]
  Scratch<Edge> edges_{0};
};

// The edges of one row.
class EdgeList {
 public:
  // At most `room` edges will be added.
  void Clear(int64_t room) {
    count_ = 0;
    if (static_cast<int64_t>(rows_.size()) >= room) return;
    rows_.resize(static_cast<size_t>(room));
    weights_.resize(static_cast<size_t>(room));
  }
  void Add(int32_t row, float weight) {  // written in any case: whether a term is active is hard to predict
    rows_[count_] = row;
    weights_[count_] = weight;
    count_ += weight != 0.0f ? 1 : 0;
  }
  void Sum(Matrix<const float> x, int64_t row, float* out) const {
    simd::Triplets().weighted_differences(x.row(row), x.data, x.cols, rows_.data(), weights_.data(),
                                          static_cast<int64_t>(count_), out);
  }

 private:
  size_t count_ = 0;
  std::vector<int32_t> rows_;
  std::vector<float> weights_;
};

void ListEdges(const TripletEdges& edges, const MirroredNegatives& mirrored, int64_t row, EdgeList* list) {
  const Classes& classes = edges.classes();
  const int64_t c = edges.membership().class_of[static_cast<size_t>(row)], size = classes.size(c);
  const int64_t rank = edges.membership().rank[static_cast<size_t>(row)];
  list->Clear(size + edges.negatives(row) + mirrored.count(row) + 1);
  const float* toward = edges.toward_square(c);
  if (size > 1)
    for (int64_t p = 0; p < size; ++p)
      list->Add(classes.begin(c)[p], toward[rank * size + p] + toward[p * size + rank]);
  for (int64_t k = 0; k < edges.negatives(row); ++k)
    list->Add(edges.negative_row(row)[k], -edges.from_row(row)[k]);
  mirrored.ForEach(row, [list](int32_t anchor, float from) { list->Add(anchor, -from); });
}

}  // namespace

TripletEdges::TripletEdges(const Classes& classes, const Membership& membership)
    : classes_(classes),
      membership_(membership),
      square_(SquareOffsets(classes)),
      negatives_(classes.members.size(), 0),
      toward_(room()),
      from_(room()),
      negative_(room()) {}

int64_t TripletEdges::BlockRows(int64_t dim) const {
  const auto batch = static_cast<int64_t>(classes_.members.size());
  // A row has up to three edges for each element of its row of the square.
  const int64_t products = std::max<int64_t>(1, 3 * room() / batch * std::max<int64_t>(dim, 16));
  return std::clamp<int64_t>(kWorkWorthAThread / products, 16, 1024);
}

void GatherGradient(const Executor& executor, Matrix<const float> x, const TripletEdges& edges,
                    const DenseClasses& dense, float* grad) {
  dense.AddMirrored(executor, edges);
  const MirroredNegatives mirrored(executor, edges, x.rows);
  // Rows of a class follow each other: they read neighbouring columns of its square.
  const Classes& classes = edges.classes();
  ParallelFor(executor, x.rows, edges.BlockRows(x.cols), [&](int64_t begin, int64_t end) {
    EdgeList list;
    Scratch<float> to_positives(0);
    std::vector<float> to_mirrored(static_cast<size_t>(x.cols));
    for (int64_t i = begin; i < end;) {
      const int64_t row = classes.members[static_cast<size_t>(i)];
      const int64_t c = edges.membership().class_of[static_cast<size_t>(row)];
      if (!dense.has(c)) {
        ListEdges(edges, mirrored, row, &list);
        list.Sum(x, row, grad + row * x.cols);
        ++i;
        continue;
      }
      const int64_t last = std::min<int64_t>(end, classes.offsets[static_cast<size_t>(c) + 1]);
      to_positives = Scratch<float>((last - i) * x.cols);
      dense.Sums(edges, i, last - i, to_positives.get());
      for (const float* sums = to_positives.get(); i < last; ++i, sums += x.cols) {
        const int64_t member = classes.members[static_cast<size_t>(i)];
        list.Clear(mirrored.count(member) + 1);
        mirrored.ForEach(member, [&list](int32_t anchor, float from) { list.Add(anchor, from); });
        list.Sum(x, member, to_mirrored.data());
        float* g = grad + member * x.cols;
        for (int64_t d = 0; d < x.cols; ++d) g[d] = sums[d] - g[d] - to_mirrored[static_cast<size_t>(d)];
      }
    }
  });
}

}  // namespace fslcore
