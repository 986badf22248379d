// SPDX-License-Identifier: MIT
// Distances are symmetric bit for bit, and do not depend on where in a pairwise matrix they are computed:
// each is one chain of sums over the two rows alone. So distances to positives may be computed first,
// class by class.
#include "core/triplets/mining.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/pairwise/pairwise.h"
#include "core/simd/row_kernels.h"
#include "core/simd/triplet_kernels.h"
#include "core/triplets/beyond_search.h"
#include "core/triplets/negative_search.h"

namespace fslcore {
namespace {

constexpr float kNoDistance = std::numeric_limits<float>::quiet_NaN();

// The most positives with which an anchor takes part in the search for all anchors at once. That search takes
// half the distances, but some steps for each candidate that is the nearest so far, which small batches do
// not pay back: at 128 columns the two ways meet at 3 positives in a batch of 512 and at 15 of 4096.
int64_t MostLimits(int64_t batch) { return std::clamp<int64_t>(batch / 128 - 1, 0, 15); }

// Rows of distances that a thread holds at a time. All of the packed batch passes by for each block of rows,
// so tall blocks save memory traffic: 48 rows, or what fits 8 MB, and at least one register tile.
int64_t BlockRows(int64_t batch, int64_t dim) {
  const int64_t worthwhile = kWorkWorthAThread / (batch * std::max<int64_t>(dim, 16));
  return std::clamp<int64_t>((8 << 18) / batch, simd::Rows().tile_rows, std::max<int64_t>(48, worthwhile));
}

// The listed rows, one after the other.
Scratch<float> Gather(Matrix<const float> x, const int32_t* rows, int64_t count) {
  Scratch<float> out(count * x.cols);
  for (int64_t i = 0; i < count; ++i) std::copy_n(x.row(rows[i]), x.cols, out.get() + i * x.cols);
  return out;
}

// Calls visit(anchor, distances to all members of its class, in their order) for the classes `begin` to
// `end`.
template <class Visit>
void VisitClasses(const Batch& batch, int64_t begin, int64_t end, const Visit& visit) {
  const int64_t first = batch.classes.offsets[static_cast<size_t>(begin)];
  const int64_t count = batch.classes.offsets[static_cast<size_t>(end)] - first;
  const int32_t* members = batch.classes.begin(begin);
  const Scratch<float> rows = Gather(batch.x, members, count);
  const Matrix<const float> x = {rows.get(), count, batch.x.cols};
  const PairwiseParts parts({}, {batch.metric}, x, x);
  const int64_t height = BlockRows(count, x.cols);
  const Scratch<float> distances(std::min(height, count) * count);
  for (int64_t row = 0; row < count; row += height) {
    const int64_t last = std::min(row + height, count);
    parts.Compute(parts.PackRows(row, last), 0, count, distances.get(), count);
    for (int64_t i = row; i < last; ++i) {
      const int64_t own = batch.classes.offsets[static_cast<size_t>(batch.class_of(members[i]))] - first;
      visit(members[i], distances.get() + (i - row) * count + own);
    }
  }
}

// The same for all classes, small ones together so that they fill a panel.
template <class Visit>
void ForEachClass(const Executor& executor, const Batch& batch, int64_t largest, const Visit& visit) {
  std::vector<int64_t> begin, end;
  for (int64_t c = 0; c < batch.classes.count(); ++c) {
    const int64_t size = batch.classes.size(c);
    if (size < 2 || size > largest) continue;
    const auto& offsets = batch.classes.offsets;
    const bool joins = !end.empty() && end.back() == c &&
                       offsets[static_cast<size_t>(c) + 1] - offsets[static_cast<size_t>(begin.back())] <=
                           simd::Rows().panel;
    if (!joins) begin.push_back(c), end.push_back(c);
    end.back() = c + 1;
  }
  ParallelFor(executor, static_cast<int64_t>(begin.size()), 1, [&](int64_t group, int64_t) {
    VisitClasses(batch, begin[static_cast<size_t>(group)], end[static_cast<size_t>(group)], visit);
  });
}

// Calls visit(anchor, distances, stride) with the whole row of each listed anchor, which the caller may
// change; make_visit() is called once per block. Distances end in NaN, up to a multiple of kRowPadding.
template <class MakeVisit>
void ForEachAnchor(const Executor& executor, const Batch& batch, const std::vector<int32_t>& anchors,
                   const MakeVisit& make_visit) {
  const Matrix<const float> x = batch.x;
  const auto count = static_cast<int64_t>(anchors.size());
  if (count == 0) return;
  const Scratch<float> gathered = count < x.rows ? Gather(x, anchors.data(), count) : Scratch<float>(0);
  const Matrix<const float> rows = {count < x.rows ? gathered.get() : x.data, count, x.cols};
  const PairwiseParts parts(executor, {batch.metric}, rows, x);
  const int64_t stride = RoundUp(x.rows, simd::kRowPadding);
  ParallelFor(executor, count, BlockRows(x.rows, x.cols), [&](int64_t begin, int64_t end) {
    const Scratch<float> block((end - begin) * stride);
    parts.Compute(parts.PackRows(begin, end), 0, x.rows, block.get(), stride);
    auto visit = make_visit();
    for (int64_t i = begin; i < end; ++i) {
      float* distances = block.get() + (i - begin) * stride;
      std::fill(distances + x.rows, distances + stride, kNoDistance);
      visit(anchors[static_cast<size_t>(i)], distances, stride);
    }
  });
}

void HideOwnClass(const Batch& batch, int64_t anchor, float* distances) {
  const int64_t own = batch.class_of(anchor);
  std::for_each(batch.classes.begin(own), batch.classes.end(own),
                [distances](int32_t member) { distances[member] = kNoDistance; });
}

// Classes are in the order of their labels, not of their first members.
int32_t FirstOfAnotherClass(const Batch& batch, int64_t anchor) {
  const auto& class_of = batch.membership.class_of;
  const auto other =
      std::find_if(class_of.begin(), class_of.end(), [&](int32_t c) { return c != batch.class_of(anchor); });
  return static_cast<int32_t>(other - class_of.begin());
}

std::vector<int32_t> AnchorsWith(const Batch& batch, int64_t least, int64_t most) {
  std::vector<int32_t> anchors;
  for (int64_t row = 0; row < batch.x.rows; ++row)
    if (batch.positives(row) >= least && batch.positives(row) <= most)
      anchors.push_back(static_cast<int32_t>(row));
  return anchors;
}

using Negatives = std::function<int32_t*(int64_t anchor)>;

// The anchors with up to `most` positives.
void MineTogether(const Executor& executor, const Batch& batch, int64_t most, const Negatives& negatives) {
  const std::vector<int32_t> anchors = AnchorsWith(batch, 1, most);
  if (anchors.empty()) return;
  int64_t present = 0;  // which may be far fewer
  for (int32_t anchor : anchors) present = std::max(present, batch.positives(anchor));
  BeyondSearch search(batch.x.rows, present);
  ForEachClass(executor, batch, present + 1, [&](int64_t anchor, const float* distances) {
    for (int64_t p = 0; p <= batch.positives(anchor); ++p)
      if (p != batch.rank(anchor)) search.AddLimit(anchor, distances[p]);
  });
  search.Run(executor, PairwiseParts(executor, {batch.metric}, batch.x, batch.x),
             batch.membership.class_of.data());

  std::vector<int32_t> incomplete;
  for (int32_t anchor : anchors) {
    int32_t* found = negatives(anchor);
    const int64_t count = batch.positives(anchor);
    for (int64_t p = 0; p < count; ++p) found[p] = search.nearest(anchor, p);
    if (std::find(found, found + count, -1) != found + count) incomplete.push_back(anchor);
  }
  ForEachAnchor(executor, batch, incomplete, [&] {
    return [&](int64_t anchor, float* distances, int64_t stride) {
      HideOwnClass(batch, anchor, distances);
      const auto farthest = static_cast<int32_t>(simd::Triplets().farthest(distances, stride));
      int32_t* found = negatives(anchor);
      std::replace(found, found + batch.positives(anchor), -1,
                   farthest < 0 ? FirstOfAnotherClass(batch, anchor) : farthest);
    };
  });
}

// The anchors with at least `least` positives.
void MineApart(const Executor& executor, const Batch& batch, int64_t least, const Negatives& negatives) {
  const std::vector<int32_t> anchors = AnchorsWith(batch, least, batch.x.rows);
  ForEachAnchor(executor, batch, anchors, [&] {
    return [&, search = NegativeSearch(), positives = std::vector<float>()](int64_t anchor, float* distances,
                                                                            int64_t stride) mutable {
      const int64_t own = batch.class_of(anchor), count = batch.positives(anchor);
      positives.resize(static_cast<size_t>(count + 1));
      float* next = positives.data();  // the anchor's own distance is overwritten by the next one
      for (const int32_t* p = batch.classes.begin(own); p != batch.classes.end(own); ++p) {
        *next = distances[*p];
        next += *p != anchor ? 1 : 0;
      }
      HideOwnClass(batch, anchor, distances);
      int32_t* found = negatives(anchor);
      search.Find(distances, stride, positives.data(), count, found);
      if (found[0] < 0) std::fill_n(found, count, FirstOfAnotherClass(batch, anchor));  // all are NaN
    };
  });
}

// The first of the members at the best distance, without the one at `own`; one at NaN only if all are.
template <class IsBetter>
int64_t FirstBest(const float* distances, int64_t size, int64_t own, const IsBetter& is_better) {
  int64_t best = own == 0 ? 1 : 0;
  for (int64_t i = best + 1; i < size; ++i)
    if (i != own && (is_better(distances[i], distances[best]) ||
                     (std::isnan(distances[best]) && !std::isnan(distances[i]))))
      best = i;
  return best;
}

// The member of the class, [size], that the rule chooses as the positive of the one at `own`.
int64_t ChoosePositive(Mining mining, const float* distances, int64_t size, int64_t own) {
  switch (mining) {
    case Mining::kSemihard:
      break;  // takes all of them
    case Mining::kHard:
      return FirstBest(distances, size, own, std::greater<>());
    case Mining::kEasyPositive:
      return FirstBest(distances, size, own, std::less<>());
  }
  return own;
}

}  // namespace

void MineSemihard(const Executor& executor, const Batch& batch, const Negatives& negatives) {
  const int64_t together = MostLimits(batch.x.rows);
  MineTogether(executor, batch, together, negatives);
  MineApart(executor, batch, together + 1, negatives);
}

void MineAnchors(const Executor& executor, Mining mining, const Batch& batch, int32_t* positive,
                 int32_t* negative) {
  std::fill_n(positive, batch.x.rows, -1);
  std::fill_n(negative, batch.x.rows, -1);
  BeyondSearch search(batch.x.rows, 1);
  ForEachClass(executor, batch, batch.x.rows, [&](int64_t anchor, const float* distances) {
    const int64_t own = batch.class_of(anchor);
    const int64_t member = ChoosePositive(mining, distances, batch.classes.size(own), batch.rank(anchor));
    positive[anchor] = batch.classes.begin(own)[member];
    search.AddNoLimit(anchor);
  });
  search.Run(executor, PairwiseParts(executor, {batch.metric}, batch.x, batch.x),
             batch.membership.class_of.data());
  for (int64_t row = 0; row < batch.x.rows; ++row) {
    if (positive[row] < 0) continue;
    const int32_t nearest = search.nearest(row, 0);
    negative[row] = nearest < 0 ? FirstOfAnotherClass(batch, row) : nearest;
  }
}

}  // namespace fslcore
