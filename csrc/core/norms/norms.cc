// SPDX-License-Identifier: MIT
// Each task has some pairs of a row of x and a panel of rows of y, which is packed once.
#include "core/norms/norms.h"

#include <algorithm>
#include <vector>

#include "core/norms/packing.h"
#include "core/simd/norms_kernels.h"

namespace fslcore {

std::string CheckPairwiseNorms(int64_t norms, const std::vector<Sizes>& in) {
  static constexpr struct {
    const char* name;
    size_t axes;
  } kArguments[] = {{"x", 2},           {"y", 2},      {"x_scales", 1}, {"y_scales", 1}, {"hidden", 2},
                    {"hidden_bias", 1}, {"mixing", 1}, {"weights", 1},  {"bias", 0}};
  for (size_t i = 0; i < 9; ++i) {
    const std::string problem = CheckAxes(kArguments[i].name, in[i], kArguments[i].axes);
    if (!problem.empty()) return problem;
  }
  if (norms < 1 || norms >= 1 << kMostNorms)
    return "norms must be a set of " + std::to_string(kMostNorms) + " norms, one bit each, received " +
           std::to_string(norms);
  const Sizes &x = in[0], &y = in[1], &hidden = in[4];
  if (x[1] != y[1])
    return "x and y must have the same number of columns, received x: " + ShapeText(x) +
           ", y: " + ShapeText(y);
  const bool scaled = HasNorm(norms, Norm::kUnitProduct);
  return FirstOf({CheckSizes("x_scales", in[2], {scaled ? x[0] : 0}),
                  CheckSizes("y_scales", in[3], {scaled ? y[0] : 0}),
                  CheckSizes("hidden", hidden, {hidden[0], CountNorms(norms)}),
                  CheckSizes("hidden_bias", in[5], {hidden[0]}), CheckSizes("mixing", in[6], {hidden[0]}),
                  CheckSizes("weights", in[7], {x[1]})});
}

std::string CheckPairwiseNormsGrad(int64_t norms, const std::vector<Sizes>& in) {
  const Sizes pairs = {in[0].empty() ? 0 : in[0][0], in[1].empty() ? 0 : in[1][0]};
  return FirstOf(
      {CheckPairwiseNorms(norms, in), CheckSizes("grad", in[9], pairs), CheckSizes("out", in[10], pairs)});
}

void PairwiseNorms(const Executor& executor, const NormNetwork& network, const NormRows& x, const NormRows& y,
                   float* out) {
  const int64_t panel = simd::Rows().panel, cols = y.rows.rows;
  const NormPanels panels(executor, y);
  const std::vector<float> filters = PackFilters(network, /*products=*/false);
  const int64_t work =
      panel * std::max<int64_t>(1, network.hidden.rows * (network.hidden.cols + 2)) * x.rows.cols;
  ParallelFor(executor, x.rows.rows * panels.count, std::max<int64_t>(1, kWorkWorthAThread / (work + 1)),
              [&](int64_t begin, int64_t end) {
                const Scratch<float> sums(panel);
                for (int64_t i = begin; i < end; ++i) {
                  const int64_t row = i / panels.count, p = i % panels.count, first = p * panel;
                  simd::OfNorms().block({PairOfRow(network, filters, x, row, panels, p), network.bias,
                                         network.activation, sums.get()});
                  std::copy_n(sums.get(), std::min(panel, cols - first), out + row * cols + first);
                }
              });
}

}  // namespace fslcore
