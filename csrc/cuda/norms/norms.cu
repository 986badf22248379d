// SPDX-License-Identifier: MIT
// Networks on the norms of pairs on a GPU. The forward pass has a warp for each pair, whose lanes are
// coordinates. The gradient of a side has a thread for each of its numbers, which evaluates all pairs of its
// row; that of the filters a warp for each filter and share of the pairs. The filters are read by all lanes
// at the same place, from the L1 cache.
#include <algorithm>

#include "cuda/norms/norms.h"
#include "cuda/norms/pair_norms.h"
#include "cuda/threads.h"

namespace fslcore::cuda {

using namespace norms;

namespace {

constexpr int64_t kLeastShare = 64;     // pairs of a share of a filter's sums
constexpr int64_t kFilterWarps = 8192;  // that fill the GPU
constexpr int64_t kBiasParts = 16384;

// softmax [pairs, 3]: the scales of each pair, or null.
__device__ PairScales ScalesOfPair(const Network& n, int64_t row, int64_t col, const float* softmax) {
  PairScales scales;
  if (n.has_unit) scales.unit = n.x_scales[row] * n.y_scales[col];
  if (!n.has_softmax) return scales;
  const float* of_pair = softmax + (row * n.cols + col) * 3;
  scales.largest = of_pair[0], scales.share = of_pair[1], scales.along = of_pair[2];
  return scales;
}

// The first two of a pair's scales of softmax, by a warp.
__global__ void SoftmaxScales(Network n, float* softmax) {
  const int64_t pair = WarpOfGrid();
  if (pair >= n.rows * n.cols) return;
  const float *x = n.x + pair / n.cols * n.dim, *y = n.y + pair % n.cols * n.dim;
  float largest = 0.0f, sum = 0.0f;
  for (int64_t d = Lane(); d < n.dim; d += kWarpSize) largest = fmaxf(largest, fabsf(x[d] - y[d]));
  largest = WarpMax(largest);
  for (int64_t d = Lane(); d < n.dim; d += kWarpSize) sum += expf(fabsf(x[d] - y[d]) - largest);
  sum = WarpSum(sum);
  if (Lane() > 0) return;
  softmax[pair * 3] = largest;
  softmax[pair * 3 + 1] = 1.0f / sum;
  softmax[pair * 3 + 2] = 0.0f;
}

template <int kNorms>
__global__ void Forward(Network n, const float* bias, const float* softmax, float* out) {
  const int64_t pair = WarpOfGrid();
  if (pair >= n.rows * n.cols) return;
  const float *x = n.x + pair / n.cols * n.dim, *y = n.y + pair % n.cols * n.dim;
  const PairScales scales = ScalesOfPair(n, pair / n.cols, pair % n.cols, softmax);
  float sum = 0.0f;
  for (int64_t d = Lane(); d < n.dim; d += kWarpSize)
    sum = fmaf(n.weights[d], Coordinate<kNorms>(n, x[d], y[d], scales).Mixed(n), sum);
  sum = WarpSum(sum) + *bias;
  if (Lane() == 0) out[pair] = n.activation == Activation::kSigmoid ? 1.0f / (1.0f + expf(-sum)) : sum;
}

struct Incoming {
  const float *grad, *out;
  float* softmax;
};

// The third of a pair's scales of softmax, by a warp.
template <int kNorms>
__global__ void SoftmaxAlong(Network n, Incoming in) {
  const int64_t pair = WarpOfGrid();
  if (pair >= n.rows * n.cols) return;
  const float *x = n.x + pair / n.cols * n.dim, *y = n.y + pair % n.cols * n.dim;
  const PairScales scales = ScalesOfPair(n, pair / n.cols, pair % n.cols, in.softmax);
  const float grad = Coefficient(n.activation, in.grad[pair], in.out[pair]);
  float along = 0.0f;
  for (int64_t d = Lane(); d < n.dim; d += kWarpSize) {
    Coordinate<kNorms> c(n, x[d], y[d], scales);
    c.MixedAndSlopes(n);
    // Softmax is the last of the norms.
    along = fmaf(grad * n.weights[d] * c.slopes[kNorms - 1], c.values[kNorms - 1], along);
  }
  along = WarpSum(along);
  if (Lane() == 0) in.softmax[pair * 3 + 2] = along;
}

struct SideGradients {
  float* gradient;  // [rows of the side, dim]
  float* scales;    // [rows of the side, dim], to be added up over dim; or null
  float* weights;   // the same, over the rows; or null
};

// A thread for each number of x, or of y (kOfSecond).
template <int kNorms, bool kOfSecond>
__global__ void SideGrad(Network n, Incoming in, SideGradients to) {
  const int64_t i = ThreadOfGrid(), own = i / n.dim, d = i % n.dim;
  if (own >= (kOfSecond ? n.cols : n.rows)) return;
  float gradient = 0.0f, of_scale = 0.0f, of_weight = 0.0f;
  const int64_t others = kOfSecond ? n.rows : n.cols;
  for (int64_t other = 0; other < others; ++other) {
    const int64_t row = kOfSecond ? other : own, col = kOfSecond ? own : other, pair = row * n.cols + col;
    const float q = n.x[row * n.dim + d], s = n.y[col * n.dim + d];
    const PairScales scales = ScalesOfPair(n, row, col, in.softmax);
    Coordinate<kNorms> c(n, q, s, scales);
    const float mixed = c.MixedAndSlopes(n);
    const float grad = Coefficient(n.activation, in.grad[pair], in.out[pair]);
    const float weighted = grad * n.weights[d];
    of_weight = fmaf(grad, mixed, of_weight);
    FSLCORE_UNROLL
    for (int k = 0; k < kNorms; ++k) {
      const float slope = weighted * c.slopes[k];
      gradient += ByCoordinate<kOfSecond>(n.of[k], slope, c.values[k], q, s, scales);
      if (n.of[k] == Norm::kUnitProduct)
        of_scale -= slope * (q * s) * (kOfSecond ? n.x_scales[row] : n.y_scales[col]);
    }
  }
  to.gradient[i] = gradient;
  if (to.scales) to.scales[i] = of_scale;
  if (to.weights) to.weights[i] = of_weight;
}

// sums [shares, filters, norms + 1], as norms_grad.cc defines them; a warp for each filter and share.
template <int kNorms>
__global__ void FilterSums(Network n, Incoming in, int64_t pairs_of_share, int64_t shares, double* sums) {
  const int64_t i = WarpOfGrid(), share = i / n.filters, f = i % n.filters;
  if (share >= shares) return;
  const int64_t pairs = n.rows * n.cols, begin = share * pairs_of_share;
  const int64_t end = begin + pairs_of_share < pairs ? begin + pairs_of_share : pairs;
  double total[kNorms + 1] = {};
  for (int64_t pair = begin; pair < end; ++pair) {
    const int64_t row = pair / n.cols, col = pair % n.cols;
    const PairScales scales = ScalesOfPair(n, row, col, in.softmax);
    const float grad = Coefficient(n.activation, in.grad[pair], in.out[pair]);
    float of_pair[kNorms + 1] = {};
    for (int64_t d = Lane(); d < n.dim; d += kWarpSize) {
      const Coordinate<kNorms> c(n, n.x[row * n.dim + d], n.y[col * n.dim + d], scales);
      if (c.Sum(n, f) <= 0.0f) continue;
      const float weighted = grad * n.weights[d];
      FSLCORE_UNROLL
      for (int k = 0; k < kNorms; ++k) of_pair[k] = fmaf(weighted, c.values[k], of_pair[k]);
      of_pair[kNorms] += weighted;
    }
    FSLCORE_UNROLL
    for (int k = 0; k <= kNorms; ++k) total[k] += static_cast<double>(of_pair[k]);
  }
  FSLCORE_UNROLL
  for (int k = 0; k <= kNorms; ++k) {
    const double sum = WarpSum(total[k]);
    if (Lane() == 0) sums[i * (kNorms + 1) + k] = sum;
  }
}

// A thread for each filter.
__global__ void FinishFilters(Network n, int64_t norms, int64_t shares, const double* sums,
                              NormsGradients to) {
  const int64_t f = ThreadOfGrid();
  if (f >= n.filters) return;
  double mixing = 0.0;
  for (int64_t k = 0; k <= norms; ++k) {
    double sum = 0.0;
    for (int64_t share = 0; share < shares; ++share) sum += sums[(share * n.filters + f) * (norms + 1) + k];
    const float by = static_cast<float>(static_cast<double>(n.mixing[f]) * sum);
    if (k < norms)
      to.dhidden[f * norms + k] = by;
    else
      to.dhidden_bias[f] = by;
    mixing += static_cast<double>(k < norms ? n.hidden[f * norms + k] : n.hidden_bias[f]) * sum;
  }
  to.dmixing[f] = static_cast<float>(mixing);
}

// Part i is the sum over every kBiasParts-th pair from i on.
__global__ void BiasSums(Network n, Incoming in, double* parts) {
  const int64_t i = ThreadOfGrid();
  if (i >= kBiasParts) return;
  double sum = 0.0;
  for (int64_t pair = i; pair < n.rows * n.cols; pair += kBiasParts)
    sum += static_cast<double>(Coefficient(n.activation, in.grad[pair], in.out[pair]));
  parts[i] = sum;
}

// One warp.
__global__ void FinishBias(const double* parts, float* out) {
  if (WarpOfGrid() > 0) return;
  double sum = 0.0;
  for (int64_t i = Lane(); i < kBiasParts; i += kWarpSize) sum += parts[i];
  sum = WarpSum(sum);
  if (Lane() == 0) *out = static_cast<float>(sum);
}

// out[i] = the sum over `count` numbers `stride` apart, from from[i * step] on.
__global__ void AddUp(const float* from, int64_t n, int64_t step, int64_t count, int64_t stride, float* out) {
  const int64_t i = ThreadOfGrid();
  if (i >= n) return;
  float sum = 0.0f;
  for (int64_t j = 0; j < count; ++j) sum += from[i * step + j * stride];
  out[i] = sum;
}

Network NetworkOf(const NormNetwork& network, const NormRows& x, const NormRows& y) {
  Network n = {};
  ListNorms(network.norms, n.of);
  n.has_unit = HasNorm(network.norms, Norm::kUnitProduct);
  n.has_softmax = HasNorm(network.norms, Norm::kSoftmax);
  n.activation = network.activation;
  n.filters = network.hidden.rows, n.dim = x.rows.cols, n.rows = x.rows.rows, n.cols = y.rows.rows;
  n.hidden = network.hidden.data, n.hidden_bias = network.hidden_bias, n.mixing = network.mixing;
  n.weights = network.weights.data;
  n.x = x.rows.data, n.y = y.rows.data, n.x_scales = x.scales, n.y_scales = y.scales;
  return n;
}

// use(std::integral_constant<int, norms>()).
template <class Use>
void WithCount(int64_t norms, const Use& use) {
  switch (norms) {
    case 1:
      return use(std::integral_constant<int, 1>());
    case 2:
      return use(std::integral_constant<int, 2>());
    case 3:
      return use(std::integral_constant<int, 3>());
    case 4:
      return use(std::integral_constant<int, 4>());
    case 5:
      return use(std::integral_constant<int, 5>());
    case 6:
      return use(std::integral_constant<int, 6>());
    case 7:
      return use(std::integral_constant<int, 7>());
    default:
      return use(std::integral_constant<int, 8>());
  }
}

struct GradMemory {
  int64_t pairs_of_share, shares;
  float *softmax, *x_scales, *y_scales, *weights;
  double *sums, *bias;

  GradMemory(Parts& parts, const Network& n, int64_t norms) {
    const int64_t pairs = n.rows * n.cols;
    const int64_t wanted =
        std::min(DivideUp(kFilterWarps, std::max<int64_t>(1, n.filters)), DivideUp(pairs, kLeastShare));
    pairs_of_share = DivideUp(pairs, std::max<int64_t>(1, wanted));
    shares = pairs == 0 ? 0 : DivideUp(pairs, pairs_of_share);
    softmax = parts.Take<float>(n.has_softmax ? pairs * 3 : 0);
    x_scales = parts.Take<float>(n.has_unit ? n.rows * n.dim : 0);
    y_scales = parts.Take<float>(n.has_unit ? n.cols * n.dim : 0);
    weights = parts.Take<float>(n.rows * n.dim);
    sums = parts.Take<double>(shares * n.filters * (norms + 1));
    bias = parts.Take<double>(kBiasParts);
  }
};

}  // namespace

int64_t PairwiseNormsWorkspace(const NormNetwork& network, const NormRows& x, const NormRows& y) {
  Parts parts(nullptr);
  parts.Take<float>(HasNorm(network.norms, Norm::kSoftmax) ? x.rows.rows * y.rows.rows * 3 : 0);
  return parts.bytes();
}

int64_t PairwiseNormsGradWorkspace(const NormNetwork& network, const NormRows& x, const NormRows& y) {
  Parts parts(nullptr);
  GradMemory(parts, NetworkOf(network, x, y), network.hidden.cols);
  return parts.bytes();
}

std::string PairwiseNorms(Stream stream, const NormNetwork& network, const float* bias, const NormRows& x,
                          const NormRows& y, void* workspace, float* out) {
  Launches launches(stream, "pairwise_norms");
  const Network n = NetworkOf(network, x, y);
  auto* softmax = static_cast<float*>(workspace);
  const Grid pairs = OneWarpEach(n.rows * n.cols);
  if (n.has_softmax) launches.Run(pairs, SoftmaxScales, n, softmax);
  WithCount(network.hidden.cols,
            [&](auto count) { launches.Run(pairs, Forward<count.value>, n, bias, softmax, out); });
  return launches.problem();
}

std::string PairwiseNormsGrad(Stream stream, const NormNetwork& network, const NormRows& x, const NormRows& y,
                              const float* grad, const float* out, void* workspace,
                              const NormsGradients& gradients) {
  Launches launches(stream, "gradient of pairwise_norms");
  const Network n = NetworkOf(network, x, y);
  Parts parts(workspace);
  const GradMemory memory(parts, n, network.hidden.cols);
  const Incoming in = {grad, out, memory.softmax};
  const SideGradients of_x = {gradients.dx, n.has_unit ? memory.x_scales : nullptr, memory.weights};
  const SideGradients of_y = {gradients.dy, n.has_unit ? memory.y_scales : nullptr, nullptr};
  const Grid pairs = OneWarpEach(n.rows * n.cols);
  if (n.has_softmax) launches.Run(pairs, SoftmaxScales, n, memory.softmax);
  WithCount(network.hidden.cols, [&](auto count) {
    if (n.has_softmax) launches.Run(pairs, SoftmaxAlong<count.value>, n, in);
    launches.Run(OneThreadEach(n.rows * n.dim), SideGrad<count.value, false>, n, in, of_x);
    launches.Run(OneThreadEach(n.cols * n.dim), SideGrad<count.value, true>, n, in, of_y);
    launches.Run(OneWarpEach(memory.shares * n.filters), FilterSums<count.value>, n, in,
                 memory.pairs_of_share, memory.shares, memory.sums);
  });
  launches.Run(OneThreadEach(n.filters), FinishFilters, n, network.hidden.cols, memory.shares, memory.sums,
               gradients);
  launches.Run(OneThreadEach(n.dim), AddUp, memory.weights, n.dim, 1, n.rows, n.dim, gradients.dweights);
  if (n.has_unit) {
    launches.Run(OneThreadEach(n.rows), AddUp, memory.x_scales, n.rows, n.dim, n.dim, 1, gradients.dx_scales);
    launches.Run(OneThreadEach(n.cols), AddUp, memory.y_scales, n.cols, n.dim, n.dim, 1, gradients.dy_scales);
  }
  launches.Run(OneThreadEach(kBiasParts), BiasSums, n, in, memory.bias);
  launches.Run(OneWarpEach(1), FinishBias, memory.bias, gradients.dbias);
  return launches.problem();
}

}  // namespace fslcore::cuda
