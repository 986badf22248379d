// SPDX-License-Identifier: MIT
#include "core/triplets/beyond_search.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "core/arrays/float_bits.h"
#include "core/simd/row_kernels.h"
#include "core/simd/triplet_kernels.h"

namespace fslcore {
namespace {

// Rows that meet all panels behind them together: whole panels, so that the diagonal divides none, and whole
// tiles of six rows. With 128 rows a batch of 32768 takes 8 % longer.
constexpr int64_t kTallestBlock = 192;
// At least so many, for what is computed twice on the diagonal is a share of 1 / kBlocks.
constexpr int64_t kBlocks = 32;

constexpr uint32_t kInfinityBits = 0x7f800000;

}  // namespace

BeyondSearch::BeyondSearch(int64_t batch, int64_t most_limits)
    : batch_(batch),
      stride_(RoundUp(batch, simd::Rows().panel)),
      size_(most_limits * stride_),
      limits_(batch),
      beyond_(size_),
      excess_(size_),
      nearest_(size_) {
  std::fill_n(limits_.get(), batch, 0);
  std::fill_n(beyond_.get(), size_, 0u);
  std::fill_n(excess_.get(), size_, 0u);
  std::fill_n(nearest_.get(), size_, -1);
}

void BeyondSearch::AddLimit(int64_t row, float limit) {
  Add(row, std::isnan(limit) ? kInfinityBits + 1 : FloatBits(limit) + 1);
}

void BeyondSearch::AddNoLimit(int64_t row) { Add(row, 0); }

// Infinity is the last distance that counts.
void BeyondSearch::Add(int64_t row, uint32_t beyond) {
  const int64_t at = limits_[row]++ * stride_ + row;
  beyond_[at] = beyond;
  excess_[at] = kInfinityBits + 1 - beyond;
}

int64_t BeyondSearch::MostLimits(int64_t begin, int64_t end) const {
  return begin < end ? *std::max_element(limits_.get() + begin, limits_.get() + end) : 0;
}

void BeyondSearch::SearchRows(const PairwiseParts& parts, const int32_t* class_of, int64_t begin, int64_t end,
                              uint32_t* excess, int32_t* nearest) const {
  const int64_t panel = simd::Rows().panel;
  const PairwiseParts::Rows rows = parts.PackRows(begin, end);
  simd::BeyondBlock block = {};
  block.first_row = begin;
  block.class_of = class_of;
  block.limits = limits_.get();
  block.stride = stride_;
  block.beyond = beyond_.get();
  block.excess = excess;
  block.nearest = nearest;
  for (int64_t col = begin; col < batch_; col += panel) {
    const int64_t last = std::min(col + panel, batch_);
    block.first_col = col;
    block.for_columns = col >= end;  // the diagonal block has both halves in its rows
    block.most_limits = MostLimits(col, last);
    simd::Triplets().nearest_beyond(parts.Block(rows, col, last), block);
  }
}

void BeyondSearch::Run(const Executor& executor, const PairwiseParts& parts, const int32_t* class_of) {
  const int64_t height = std::min(kTallestBlock, RoundUp(DivideUp(batch_, kBlocks), simd::Rows().panel));
  const int64_t blocks = DivideUp(batch_, height);
  // Each thread keeps the nearest rows that it has seen and takes block after block, so it meets equals in
  // their order; whatever the threads, the nearest and first of all comes out.
  const int64_t threads = std::min<int64_t>(std::max(1, executor.threads), blocks);
  const Scratch<uint32_t> excess((threads - 1) * size_);
  const Scratch<int32_t> nearest((threads - 1) * size_);
  for (int64_t t = 0; t < threads - 1; ++t) {
    std::copy_n(excess_.get(), size_, excess.get() + t * size_);
    std::copy_n(nearest_.get(), size_, nearest.get() + t * size_);
  }
  std::atomic<int64_t> next{0};
  ParallelFor(executor, threads, 1, [&](int64_t thread, int64_t) {
    uint32_t* own_excess = thread == 0 ? excess_.get() : excess.get() + (thread - 1) * size_;
    int32_t* own_nearest = thread == 0 ? nearest_.get() : nearest.get() + (thread - 1) * size_;
    for (int64_t block; (block = next.fetch_add(1)) < blocks;)
      SearchRows(parts, class_of, block * height, std::min((block + 1) * height, batch_), own_excess,
                 own_nearest);
  });
  for (int64_t t = 0; t < threads - 1; ++t)
    for (int64_t i = 0; i < size_; ++i) {
      const uint32_t e = excess[t * size_ + i];
      const int32_t n = nearest[t * size_ + i];
      if (e < excess_[i] || (e == excess_[i] && n < nearest_[i])) excess_[i] = e, nearest_[i] = n;
    }
}

}  // namespace fslcore
