// SPDX-License-Identifier: MIT
// What the kernels of networks on norms read: panels of rows, and the weights of the filters side by side.
#pragma once
#include <algorithm>
#include <vector>

#include "core/arrays/rounding.h"
#include "core/arrays/scratch.h"
#include "core/norms/norms.h"
#include "core/simd/norms_kernels.h"
#include "core/simd/row_kernels.h"

namespace fslcore {

// Rows, packed by pack_rows; scales beyond the last row are zero.
struct NormPanels {
  int64_t count, dim;
  Scratch<float> rows, scales;

  NormPanels(const Executor& executor, const NormRows& from)
      : count(DivideUp(from.rows.rows, simd::Rows().panel)),
        dim(from.rows.cols),
        rows(count * dim * simd::Rows().panel),
        scales(count * simd::Rows().panel) {
    const int64_t panel = simd::Rows().panel;
    std::fill_n(scales.get(), count * panel, 0.0f);
    if (from.scales) std::copy_n(from.scales, from.rows.rows, scales.get());
    ParallelFor(executor, count, RowsWorthAThread(panel * dim), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p)
        simd::Rows().pack_rows(from.rows.data, from.rows.rows, dim, p * panel, rows.get() + p * dim * panel);
    });
  }
};

// The weights of each filter on the norms, and its bias; then all of them times its weight in the mixture, or
// that weight alone.
inline std::vector<float> PackFilters(const NormNetwork& network, bool products) {
  std::vector<float> packed;
  for (int64_t f = 0; f < network.hidden.rows; ++f) {
    const float *hidden = network.hidden.row(f), bias = network.hidden_bias[f], mixing = network.mixing[f];
    packed.insert(packed.end(), hidden, hidden + network.hidden.cols);
    packed.push_back(bias);
    if (products)
      for (int64_t k = 0; k < network.hidden.cols; ++k) packed.push_back(mixing * hidden[k]);
    packed.push_back(products ? mixing * bias : mixing);
  }
  return packed;
}

inline simd::NormsPair PairOfRow(const NormNetwork& network, const std::vector<float>& filters,
                                 const NormRows& x, int64_t row, const NormPanels& panels, int64_t p) {
  const int64_t panel = simd::Rows().panel;
  return {network.norms,
          network.hidden.rows,
          panels.dim,
          filters.data(),
          network.weights.data,
          x.rows.row(row),
          panels.rows.get() + p * panels.dim * panel,
          x.scales ? x.scales[row] : 0.0f,
          panels.scales.get() + p * panel};
}

}  // namespace fslcore
