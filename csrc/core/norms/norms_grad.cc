// SPDX-License-Identifier: MIT
// The gradient of a network on norms. With g(r, c) = d loss / d (the sum inside act) and a(r, c, d, f) = 1
// where filter f passes, else 0, all but dx and dy follows from
//
//   S[f, k] = sum over r, c, d of g w_d a n_k,  S[f, K] = the same without n_k
//   dA[f, k] = v_f S[f, k]    db[f] = v_f S[f, K]    dv[f] = sum over k of A[f, k] S[f, k] + b_f S[f, K]
//
// Tasks are chunks of rows of x times groups of panels of y, as many as the shape alone says. Each has a dy
// of its chunk, a dx of its group and sums of its own, which are added up in one order.
#include <algorithm>
#include <vector>

#include "core/norms/norms.h"
#include "core/norms/packing.h"
#include "core/simd/manhattan_kernels.h"

namespace fslcore {
namespace {

constexpr int64_t kMostCopies = 8;

struct Shares {
  int64_t rows_of_chunk, chunks, panels_of_group, groups;

  Shares(int64_t rows, int64_t panels)
      : rows_of_chunk(std::max<int64_t>(1, DivideUp(rows, kMostCopies))),
        chunks(DivideUp(rows, rows_of_chunk)),
        panels_of_group(std::max<int64_t>(1, DivideUp(panels, kMostCopies))),
        groups(DivideUp(panels, panels_of_group)) {}
};

// Zeros.
Scratch<float> Zeros(int64_t count) {
  Scratch<float> zeros(count);
  std::fill_n(zeros.get(), count, 0.0f);
  return zeros;
}

// to[i] = the sum of from[copy * stride + i] over the copies, i < count.
void AddCopies(const Scratch<float>& from, int64_t copies, int64_t stride, int64_t count, float* to) {
  std::fill_n(to, count, 0.0f);
  for (int64_t copy = 0; copy < copies; ++copy)
    simd::Rows().axpy(1.0f, from.get() + copy * stride, to, count);
}

}  // namespace

void PairwiseNormsGrad(const Executor& executor, const NormNetwork& network, const NormRows& x,
                       const NormRows& y, const float* grad, const float* out,
                       const NormsGradients& gradients) {
  const int64_t panel = simd::Rows().panel, lanes = simd::Rows().lanes;
  const int64_t rows = x.rows.rows, cols = y.rows.rows, dim = x.rows.cols, filters = network.hidden.rows;
  const int64_t norms = network.hidden.cols, sums_of_task = filters * (norms + 1);
  const NormPanels panels(executor, y);
  const std::vector<float> packed = PackFilters(network, /*products=*/true);
  const Shares shares(rows, panels.count);
  const int64_t padded = panels.count * panel, tasks = shares.chunks * shares.groups;
  const Scratch<float> dx = Zeros(shares.groups * rows * dim), dy = Zeros(shares.chunks * padded * dim);
  const Scratch<float> dx_scales = Zeros(shares.groups * rows), dy_scales = Zeros(shares.chunks * padded);
  const Scratch<float> dweights = Zeros(tasks * dim);
  std::vector<double> sums(static_cast<size_t>(tasks * (sums_of_task + 1)));

  ParallelFor(executor, tasks, 1, [&](int64_t task, int64_t) {
    const int64_t chunk = task / shares.groups, group = task % shares.groups;
    const int64_t end = std::min((chunk + 1) * shares.rows_of_chunk, rows);
    const int64_t last = std::min((group + 1) * shares.panels_of_group, panels.count);
    const Scratch<float> coefficients(panel), scratch(dim * panel);
    const Scratch<float> lanes_of_sums = Zeros(sums_of_task * lanes);
    double* totals = sums.data() + task * (sums_of_task + 1);
    for (int64_t row = chunk * shares.rows_of_chunk; row < end; ++row) {
      for (int64_t p = group * shares.panels_of_group; p < last; ++p) {
        const int64_t first = p * panel, at = row * cols + first, of_chunk = chunk * padded + first;
        std::fill_n(coefficients.get(), panel, 0.0f);
        totals[sums_of_task] += simd::Manhattan().slopes(network.activation, grad + at, out + at,
                                                         std::min(panel, cols - first), coefficients.get());
        simd::OfNorms().grad({PairOfRow(network, packed, x, row, panels, p), coefficients.get(),
                              scratch.get(), dx.get() + (group * rows + row) * dim, dy.get() + of_chunk * dim,
                              dx_scales.get() + group * rows + row, dy_scales.get() + of_chunk,
                              dweights.get() + task * dim, lanes_of_sums.get()});
      }
      simd::OfNorms().take_sums(lanes_of_sums.get(), sums_of_task, totals);
    }
  });

  ParallelFor(executor, rows, RowsWorthAThread(shares.groups * dim), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      std::fill_n(gradients.dx + row * dim, dim, 0.0f);
      for (int64_t group = 0; group < shares.groups; ++group)
        simd::Rows().axpy(1.0f, dx.get() + (group * rows + row) * dim, gradients.dx + row * dim, dim);
    }
  });
  ParallelFor(executor, panels.count, RowsWorthAThread(shares.chunks * panel * dim),
              [&](int64_t begin, int64_t end) {
                for (int64_t p = begin; p < end; ++p) {
                  float* sum = dy.get() + p * panel * dim;
                  for (int64_t chunk = 1; chunk < shares.chunks; ++chunk)
                    simd::Rows().axpy(1.0f, dy.get() + (chunk * padded + p * panel) * dim, sum, panel * dim);
                  const int64_t present = std::min(panel, cols - p * panel);
                  if (shares.chunks > 0)
                    simd::Rows().transpose(sum, panel, dim, present, gradients.dy + p * panel * dim, dim);
                }
              });
  FlushDenormals flush;
  if (shares.chunks == 0) std::fill_n(gradients.dy, cols * dim, 0.0f);
  AddCopies(dweights, tasks, dim, dim, gradients.dweights);
  if (gradients.dx_scales) AddCopies(dx_scales, shares.groups, rows, rows, gradients.dx_scales);
  if (gradients.dy_scales) AddCopies(dy_scales, shares.chunks, padded, cols, gradients.dy_scales);
  std::vector<double> total(static_cast<size_t>(sums_of_task + 1));
  for (int64_t task = 0; task < tasks; ++task)
    for (size_t i = 0; i < total.size(); ++i) total[i] += sums[static_cast<size_t>(task) * total.size() + i];
  for (int64_t f = 0; f < filters; ++f) {
    const double* s = total.data() + f * (norms + 1);
    double mixing = static_cast<double>(network.hidden_bias[f]) * s[norms];
    for (int64_t k = 0; k < norms; ++k) {
      gradients.dhidden[f * norms + k] = static_cast<float>(network.mixing[f] * s[k]);
      mixing += static_cast<double>(network.hidden.row(f)[k]) * s[k];
    }
    gradients.dhidden_bias[f] = static_cast<float>(network.mixing[f] * s[norms]);
    gradients.dmixing[f] = static_cast<float>(mixing);
  }
  *gradients.dbias = static_cast<float>(total.back());
}

}  // namespace fslcore
