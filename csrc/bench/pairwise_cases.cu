// SPDX-License-Identifier: MIT
#include <algorithm>

#include "bench/cases.h"
#include "core/pairwise/metric.h"
#include "cuda/pairwise/pairwise.h"

namespace fslcore::bench {
namespace {

// Percent of the limit, by what does the work.
constexpr double kProductBar = 80, kTensorBar = 60, kDifferenceBar = 70, kGradientBar = 50;

struct Problem {
  Metric metric;
  int64_t rows, dim;
  Precision precision = Precision::kFloat32;
  Activation activation = Activation::kNone;
  bool gradients = false;

  bool weighted() const { return metric == Metric::kWeightedManhattan; }
  std::string name() const {
    std::string text(kMetricNames[static_cast<size_t>(metric)]);
    if (activation == Activation::kSigmoid) text += " + sigmoid";
    if (IsProductMetric(metric)) text += ", " + std::string(kPrecisionNames[static_cast<size_t>(precision)]);
    if (gradients) text += ", with gradient";
    return text + ", " + std::to_string(rows) + " x " + std::to_string(dim);
  }
};

// A problem in memory. x and y are two arrays: of one, half the work could be left out.
struct Pairs {
  Problem problem;
  Buffer<float> x, y, weights, bias, grad, out, dx, dy, dweights, dbias;
  Buffer<char> workspace;

  explicit Pairs(const Problem& p)
      : problem(p),
        x(RandomFloats(p.rows * p.dim, 1)),
        y(RandomFloats(p.rows * p.dim, 2)),
        weights(RandomFloats(p.dim, 3)),
        bias(RandomFloats(1, 4)),
        grad(RandomFloats(p.gradients ? p.rows * p.rows : 1, 5)),
        out(p.rows * p.rows),
        dx(x.size()),
        dy(y.size()),
        dweights(p.dim),
        dbias(1),
        workspace(std::max(cuda::PairwiseWorkspace(Kernel(), X(), Y()),
                           cuda::PairwiseGradWorkspace(Kernel(), X(), Y()))) {}

  Matrix<const float> X() const { return x.rows(problem.dim); }
  Matrix<const float> Y() const { return y.rows(problem.dim); }
  cuda::PairwiseKernel Kernel() const {
    cuda::PairwiseKernel kernel;
    kernel.metric = problem.metric;
    kernel.activation = problem.activation;
    kernel.precision = problem.precision;
    if (problem.weighted()) kernel.weights = weights.view(), kernel.bias = bias.get();
    return kernel;
  }

  // Forwards, and backwards if it has gradients.
  std::string operator()(cuda::Stream stream) const {
    const std::string problem_sentence =
        cuda::Pairwise(stream, Kernel(), X(), Y(), workspace.get(), out.get());
    if (!problem.gradients || !problem_sentence.empty()) return problem_sentence;
    return cuda::PairwiseGrad(stream, Kernel(), X(), Y(), grad.get(), out.get(), workspace.get(),
                              {dx.get(), dy.get(), problem.weighted() ? dweights.get() : nullptr,
                               problem.weighted() ? dbias.get() : nullptr});
  }
};

// Against float32, on the tensor cores of the GPUs for data centres from sm_80 on.
double SpeedOf(const Problem& p) {
  if (!IsProductMetric(p.metric)) return 1;
  switch (p.precision) {
    case Precision::kTf32:
      return 8;
    case Precision::k3xTf32:
      return 8.0 / 3.0;
    case Precision::kBfloat16:
      return 16;
    case Precision::kFloat32:
      break;
  }
  return 1;
}

// For a product a multiply-add per coordinate, for a sum of differences two instructions, which keep the
// units as busy as two multiply-adds; the same again for each of the sums dx, dy and dweights.
Work WorkOf(const Problem& p) {
  const auto rows = static_cast<double>(p.rows), dim = static_cast<double>(p.dim);
  const double sums = 1 + (p.gradients ? 2 : 0) + (p.gradients && p.weighted() ? 1 : 0);
  const double instructions = IsProductMetric(p.metric) ? 1 : 2;
  const double matrices = p.gradients ? 3 : 1;  // out is written and read, grad read
  const double vectors = p.gradients ? 4 : 2;
  return {2 * instructions * sums * rows * rows * dim, SpeedOf(p),
          4 * (matrices * rows * rows + vectors * rows * dim)};
}

double BarOf(const Problem& p) {
  if (p.gradients) return kGradientBar;
  if (!IsProductMetric(p.metric)) return kDifferenceBar;
  return p.precision == Precision::kFloat32 ? kProductBar : kTensorBar;
}

Case CaseOf(const Problem& p) {
  Case made = {p.name(), WorkOf(p), BarOf(p), Pairs(p)};
  const bool has_rival = p.precision == Precision::kFloat32 || p.precision == Precision::kTf32;
  if (IsProductMetric(p.metric) && !p.gradients && has_rival) made.rival = Rival{p.rows, p.dim, p.precision};
  return made;
}

Repeated RepeatedOf(const Problem& p) {
  const Pairs pairs(p);
  Repeated made = {p.name(), pairs, {Result(pairs.out), Workspace(pairs.workspace)}};
  if (p.gradients) made.written.insert(made.written.end(), {Result(pairs.dx), Result(pairs.dy)});
  if (p.gradients && p.weighted())
    made.written.insert(made.written.end(), {Result(pairs.dweights), Result(pairs.dbias)});
  return made;
}

}  // namespace

std::vector<MakeCase> PairwiseCases() {
  std::vector<Problem> problems;
  for (Metric metric : {Metric::kSqeuclidean, Metric::kDot})
    for (size_t precision = 0; precision < kPrecisionNames.size(); ++precision)
      problems.push_back({metric, 16384, 512, static_cast<Precision>(precision)});
  problems.push_back({Metric::kSqeuclidean, 4096, 512, Precision::kFloat32, Activation::kNone, true});
  problems.push_back({Metric::kManhattan, 8192, 256});
  problems.push_back({Metric::kManhattan, 8192, 256, Precision::kFloat32, Activation::kNone, true});
  problems.push_back(
      {Metric::kWeightedManhattan, 4096, 512, Precision::kFloat32, Activation::kSigmoid, true});
  std::vector<MakeCase> cases;
  for (const Problem& p : problems) cases.push_back([p] { return CaseOf(p); });
  return cases;
}

std::vector<MakeRepeated> PairwiseRepeats() {
  std::vector<MakeRepeated> repeats;
  for (size_t m = 0; m < kMetricNames.size(); ++m)
    for (size_t precision = 0; precision < kPrecisionNames.size(); ++precision) {
      const auto metric = static_cast<Metric>(m);
      if (precision > 0 && !IsProductMetric(metric)) continue;
      const auto activation = metric == Metric::kWeightedManhattan ? Activation::kSigmoid : Activation::kNone;
      const Problem p = {metric, 1001, 130, static_cast<Precision>(precision), activation, true};
      repeats.push_back([p] { return RepeatedOf(p); });
    }
  return repeats;
}

}  // namespace fslcore::bench
