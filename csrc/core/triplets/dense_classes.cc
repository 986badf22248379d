// SPDX-License-Identifier: MIT
#include "core/triplets/dense_classes.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/simd/row_kernels.h"
#include "core/simd/triplet_kernels.h"

namespace fslcore {
namespace {

// Rows of a block: a multiple of a register tile. The class passes by once for each block.
constexpr int64_t kBlockRows = 48;

// Squares of differences of smaller entries are finite, for up to 2^6 columns in which all differ by 2^61,
// and for any number of columns where the loss is of use.
constexpr float kHuge = 0x1p60f;

bool IsBounded(const float* x, int64_t n) {
  bool bounded = true;
  for (int64_t i = 0; i < n; ++i) bounded &= std::fabs(x[i]) < kHuge;
  return bounded;
}

}  // namespace

DenseClasses::DenseClasses(const Executor& executor, Matrix<const float> x, const TripletEdges& edges)
    : dim_(x.cols),
      padded_(RoundUp(x.cols, simd::Rows().panel)),
      is_dense_(static_cast<size_t>(edges.classes().count()), 0),
      rows_(0),
      panels_(0) {
  const Classes& classes = edges.classes();
  bool any = false;
  for (int64_t c = 0; c < classes.count(); ++c)
    any |= is_dense_[static_cast<size_t>(c)] = classes.size(c) >= kLeast ? 1 : 0;
  if (!any) return;
  rows_ = Scratch<float>(x.rows * dim_);
  panels_ = Scratch<float>(x.rows * padded_);
  ParallelFor(executor, classes.count(), 1, [&](int64_t c, int64_t) {
    if (!has(c)) return;
    const int64_t first = classes.offsets[static_cast<size_t>(c)], size = classes.size(c);
    float* rows = rows_.get() + first * dim_;
    for (int64_t i = 0; i < size; ++i) std::copy_n(x.row(classes.begin(c)[i]), dim_, rows + i * dim_);
    is_dense_[static_cast<size_t>(c)] = IsBounded(rows, size * dim_) ? 1 : 0;
    for (int64_t d = 0; d < dim_; d += simd::Rows().panel)
      simd::Rows().pack_columns(rows, size, dim_, d, panels_.get() + first * padded_ + d * size);
  });
}

// visit(class, first row, last row) in parallel.
template <class Visit>
void DenseClasses::ForEachBlock(const Executor& executor, const Classes& classes, const Visit& visit) const {
  std::vector<std::pair<int64_t, int64_t>> blocks;
  for (int64_t c = 0; c < classes.count(); ++c)
    for (int64_t row = 0; has(c) && row < classes.size(c); row += kBlockRows) blocks.emplace_back(c, row);
  ParallelFor(executor, static_cast<int64_t>(blocks.size()), 1, [&](int64_t i, int64_t) {
    const auto& [c, row] = blocks[static_cast<size_t>(i)];
    visit(c, row, std::min(row + kBlockRows, classes.size(c)));
  });
}

void DenseClasses::Squares(const Executor& executor, const TripletEdges& edges) const {
  const Classes& classes = edges.classes();
  ForEachBlock(executor, classes, [&](int64_t c, int64_t begin, int64_t end) {
    const float* rows = rows_.get() + classes.offsets[static_cast<size_t>(c)] * dim_;
    const int64_t size = classes.size(c);
    simd::Triplets().dense_squares(rows + begin * dim_, end - begin, rows, size, dim_,
                                   edges.toward_row(classes.begin(c)[begin]), size);
  });
}

// By squares of blocks on both sides of the diagonal.
void DenseClasses::AddMirrored(const Executor& executor, const TripletEdges& edges) const {
  const Classes& classes = edges.classes();
  ForEachBlock(executor, classes, [&](int64_t c, int64_t begin, int64_t end) {
    const int64_t size = classes.size(c);
    float* square = edges.toward_row(classes.begin(c)[0]);
    for (int64_t first = begin; first < size; first += kBlockRows)
      for (int64_t i = begin; i < end; ++i)
        for (int64_t j = std::max(first, i + 1); j < std::min(first + kBlockRows, size); ++j) {
          float &one = square[i * size + j], &other = square[j * size + i];
          one = other = one + other;
        }
  });
}

void DenseClasses::Sums(const TripletEdges& edges, int64_t begin, int64_t count, float* out) const {
  const Classes& classes = edges.classes();
  const int32_t member = classes.members[static_cast<size_t>(begin)];
  const int64_t c = edges.membership().class_of[static_cast<size_t>(member)], size = classes.size(c);
  const int64_t first = classes.offsets[static_cast<size_t>(c)];
  simd::Triplets().dense_differences(rows_.get() + begin * dim_, count, dim_, panels_.get() + first * padded_,
                                     size, edges.toward_row(member), size, out);
}

}  // namespace fslcore
