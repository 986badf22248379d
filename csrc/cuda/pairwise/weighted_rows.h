// SPDX-License-Identifier: MIT
// The rows of y as an operand of weighted_manhattan.
#pragma once
#include "cuda/pairwise/pairwise_finish.h"
#include "cuda/pairwise/tile.h"

namespace fslcore::cuda::pairwise {

// Rows of y, and the weights of the step behind them.
template <int kSide>
class WeightedRows : public OperandByRows<kSide> {
 public:
  __device__ WeightedRows(const PairwiseArguments& g, int64_t first_row)
      : OperandByRows<kSide>(g.y, g.dim, first_row, g.cols, 0, g.dim, g.y_aligned),
        weights_(g.weights),
        left_(static_cast<int>(g.dim)) {}

  __device__ void Load() {
    OperandByRows<kSide>::Load();
    const auto k = static_cast<int>(threadIdx.x);
    weight_ = k < kTileDepth && k < left_ ? weights_[k] : 0.0f;
    weights_ += kTileDepth, left_ -= kTileDepth;
  }

  __device__ void Store(float* tile) const {
    OperandByRows<kSide>::Store(tile);
    if (threadIdx.x < kTileDepth) tile[kOperandSize<kSide> + threadIdx.x] = weight_;
  }

 private:
  const float* weights_;
  int left_;
  float weight_ = 0.0f;
};

}  // namespace fslcore::cuda::pairwise
