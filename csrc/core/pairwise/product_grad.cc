// SPDX-License-Identifier: MIT
#include "core/pairwise/product_grad.h"

#include <algorithm>
#include <utility>

#include "core/simd/product_grad_kernels.h"
#include "core/simd/row_kernels.h"

namespace fslcore {
namespace {

// Rows of a block. With 256 slopes each they take 192 KB of the L2 cache, and the other side's panels are
// read from beyond it seldom enough.
constexpr int64_t kTallestBlock = 192;
constexpr int64_t kFewestBlocks = 8;  // of rows and parts, so that threads end together
constexpr int64_t kShortestPart = 512;

// One of the two products: the gradient of `own` rows from the slopes and the panels of the other side.
class Product {
 public:
  Product(Metric metric, Matrix<const float> own, Matrix<const float> other, bool across, const float* grad,
          const float* out, int64_t stride, float* gradient)
      : metric_(metric),
        own_(own),
        other_(other),
        across_(across),
        grad_(grad),
        out_(out),
        stride_(stride),
        gradient_(gradient),
        panels_(DivideUp(own.cols, simd::Rows().panel)),
        blocks_(CountBlocks()),
        parts_(CountParts()),
        right_(panels_ * simd::Rows().panel * other.rows),
        sums_(parts_ > 1 ? parts_ * own.rows * PaddedCols() : 0),
        slope_sums_(parts_ * own.rows),
        scales_(own.rows) {}

  int64_t depth() const { return other_.rows; }
  int64_t tasks() const { return blocks_ * parts_; }
  bool is_in_parts() const { return parts_ > 1; }

  // Rows begin to end of the other side.
  void PackOther(int64_t begin, int64_t end) {
    for (int64_t p = 0; p < panels_; ++p)
      simd::Rows().pack_columns(other_.row(begin), end - begin, other_.cols, p * simd::Rows().panel,
                                Right(p, begin));
  }

  // One block of rows, one part of its sums.
  void Run(int64_t task) {
    const int64_t block = task / parts_, part = task % parts_;
    const int64_t begin = RowOf(block), rows = RowOf(block + 1) - begin;
    const int64_t first = other_.rows * part / parts_, last = other_.rows * (part + 1) / parts_;
    const int64_t most = std::min(simd::Rows().depth, last - first), panel = simd::Rows().panel;
    const Scratch<float> tiles(rows * most + simd::Rows().lanes);
    const Scratch<float> own_sums(parts_ > 1 ? 0 : rows * panels_ * panel);
    float* sums = parts_ > 1 ? Sums(part, begin) : own_sums.get();
    float* slope_sums = slope_sums_.get() + part * own_.rows + begin;
    std::fill(slope_sums, slope_sums + rows, 0.0f);
    for (int64_t k = first; k < last; k += most) {
      const int64_t depth = std::min(most, last - k), next = k + depth;
      simd::SlopeBlock slopes = {metric_,
                                 rows,
                                 depth,
                                 At(grad_, begin, k),
                                 At(out_, begin, k),
                                 stride_,
                                 tiles.get(),
                                 across_ && !IsOfDifferences() ? nullptr : slope_sums};
      if (across_) std::swap(slopes.rows, slopes.cols);
      (across_ ? simd::ProductGrad().pack_slopes_across : simd::ProductGrad().pack_slopes)(slopes);
      if (next == last && parts_ == 1) SetScales(begin, rows);
      // The slopes of the next depth are fetched meanwhile, a share with each panel.
      const int64_t left = std::min(most, last - next);
      const int64_t ahead_rows = left == 0 ? 0 : across_ ? left : rows, ahead_cols = across_ ? rows : left;
      for (int64_t p = 0; p < panels_; ++p) {
        const int64_t row = ahead_rows * p / panels_;
        simd::ProductBlock product = {};
        product.rows = rows;
        product.depth = depth;
        product.tiles = tiles.get();
        product.panel = Right(p, k);
        product.first = k == first;
        product.sums = sums + p * rows * panel;
        product.next_panel = p + 1 < panels_ ? Right(p + 1, k) : Right(0, next);
        product.ahead = across_ ? At(grad_, begin, next + row) : At(grad_, begin + row, next);
        if (metric_ == Metric::kEuclidean) product.also_ahead = out_ + (product.ahead - grad_);
        product.ahead_rows = ahead_rows * (p + 1) / panels_ - row;
        product.ahead_cols = ahead_cols;
        product.ahead_stride = stride_;
        simd::ProductGrad().multiply(product);
        if (next == last && parts_ == 1) FinishPanel(begin, rows, p, product.sums);
      }
    }
  }

  void Finish(int64_t block) {
    const int64_t begin = RowOf(block), rows = RowOf(block + 1) - begin;
    SetScales(begin, rows);
    for (int64_t p = 0; p < panels_; ++p)
      FinishPanel(begin, rows, p, Sums(0, begin) + p * rows * simd::Rows().panel);
  }

  int64_t blocks() const { return blocks_; }

  // Of all slopes.
  double Total() const {
    double total = 0.0;
    for (int64_t i = 0; i < parts_ * own_.rows; ++i) total += slope_sums_[i];
    return total;
  }

 private:
  int64_t CountBlocks() const {
    const int64_t work_of_row = std::max<int64_t>(1, other_.rows * own_.cols);
    const int64_t worthwhile = std::max<int64_t>(1, own_.rows * work_of_row / kWorkWorthAThread);
    const int64_t wanted = RoundUp(DivideUp(own_.rows, kTallestBlock), kFewestBlocks);
    const int64_t least = DivideUp(own_.rows, kTallestBlock);
    return std::clamp(std::min(wanted, DivideUp(own_.rows, 2 * simd::Rows().tile_rows)), least,
                      std::max(least, worthwhile));
  }
  int64_t CountParts() const {
    const int64_t wanted = DivideUp(kFewestBlocks, std::max<int64_t>(1, blocks_));
    return std::max<int64_t>(1, std::min(wanted, other_.rows / kShortestPart));
  }
  int64_t RowOf(int64_t block) const { return own_.rows * block / blocks_; }
  int64_t PaddedCols() const { return panels_ * simd::Rows().panel; }
  float* Right(int64_t panel, int64_t row) {
    return right_.get() + (panel * other_.rows + row) * simd::Rows().panel;
  }
  float* Sums(int64_t part, int64_t row) { return sums_.get() + (part * own_.rows + row) * PaddedCols(); }
  // The pair of a row of this side and one of the other.
  const float* At(const float* pairs, int64_t own, int64_t other) const {
    return across_ ? pairs + other * stride_ + own : pairs + own * stride_ + other;
  }

  bool IsOfDifferences() const { return metric_ == Metric::kSqeuclidean || metric_ == Metric::kEuclidean; }

  // The factors of the rows themselves in the gradient of differences.
  void SetScales(int64_t begin, int64_t rows) {
    if (!IsOfDifferences()) return;
    for (int64_t r = begin; r < begin + rows; ++r) {
      float total = 0.0f;
      for (int64_t part = 0; part < parts_; ++part) total += slope_sums_[part * own_.rows + r];
      scales_[r] = metric_ == Metric::kSqeuclidean ? 2.0f * total : total;
    }
  }

  void FinishPanel(int64_t begin, int64_t rows, int64_t p, const float* sums) {
    const int64_t col = p * simd::Rows().panel, at = begin * own_.cols + col;
    const float scale = metric_ == Metric::kSqeuclidean ? -2.0f : metric_ == Metric::kDot ? 1.0f : -1.0f;
    simd::ProductGrad().finish(
        {rows, std::min(simd::Rows().panel, own_.cols - col), parts_, own_.rows * PaddedCols(), sums, scale,
         IsOfDifferences() ? own_.data + at : nullptr, scales_.get() + begin, gradient_ + at, own_.cols});
  }

  Metric metric_;
  Matrix<const float> own_, other_;
  bool across_;  // the rows of `own` are the columns of the slopes
  const float *grad_, *out_;
  int64_t stride_;
  float* gradient_;
  int64_t panels_, blocks_, parts_;
  Scratch<float> right_;       // [panels, other.rows, panel]
  Scratch<float> sums_;        // [parts, blocks, panels, rows of the block, panel], if there are parts
  Scratch<float> slope_sums_;  // [parts, own.rows]
  Scratch<float> scales_;      // [own.rows]
};

}  // namespace

void ProductGrad(const Executor& executor, Metric metric, Matrix<const float> x, Matrix<const float> y,
                 const float* grad, const float* out, const PairwiseGradients& gradients) {
  if (gradients.dbias) *gradients.dbias = 0.0f;
  if (x.rows == 0 || y.rows == 0) {
    std::fill(gradients.dx, gradients.dx + x.rows * x.cols, 0.0f);
    std::fill(gradients.dy, gradients.dy + y.rows * y.cols, 0.0f);
    return;
  }
  Product of_x(metric, x, y, false, grad, out, y.rows, gradients.dx);
  Product of_y(metric, y, x, true, grad, out, y.rows, gradients.dy);
  for (Product* product : {&of_x, &of_y})
    ParallelFor(executor, product->depth(), RowsWorthAThread(x.cols),
                [&](int64_t begin, int64_t end) { product->PackOther(begin, end); });
  ParallelFor(executor, of_x.tasks() + of_y.tasks(), 1, [&](int64_t task, int64_t) {
    task < of_x.tasks() ? of_x.Run(task) : of_y.Run(task - of_x.tasks());
  });
  for (Product* product : {&of_x, &of_y})
    if (product->is_in_parts())
      ParallelFor(executor, product->blocks(), 1, [&](int64_t block, int64_t) { product->Finish(block); });
  if (gradients.dbias)
    *gradients.dbias = static_cast<float>(of_x.Total() * (metric == Metric::kSqeuclidean ? 2.0
                                                          : metric == Metric::kCosine    ? -1.0
                                                                                         : 1.0));
}

}  // namespace fslcore
