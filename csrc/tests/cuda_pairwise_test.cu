// SPDX-License-Identifier: MIT
// The pairwise matrices of csrc/cuda and their gradients: exactly the core's on small integers, which all
// precisions represent, and within derived bounds of double precision otherwise.
#include "tests/cuda_checks.h"
#include "tests/cuda_pairwise_problem.h"

namespace fslcore {
namespace {

// Integers are represented exactly in every precision, and the sums of their products.
void TestIntegers(Problem p) {
  if (p.metric == Metric::kCosine)
    ExpectNear(p, OnDevice(p));
  else
    Expect(OnDevice(p) == OnCpu(p), "integers of pairwise", p.key(), p.rows * 1000 + p.dim);
}

bool Multiplies(Metric metric, Precision precision) {
  return precision == Precision::kFloat32 || IsProductMetric(metric);
}

// All metrics, those made of products in every precision.
std::vector<std::pair<Metric, Precision>> MetricsAndPrecisions() {
  std::vector<std::pair<Metric, Precision>> all;
  for (Metric metric : AllMetrics())
    for (Precision precision : kPrecisions)
      if (Multiplies(metric, precision)) all.emplace_back(metric, precision);
  return all;
}

void TestSizes() {
  struct Size {
    int64_t rows, cols, dim, shift;
  };
  const std::vector<Size> sizes = {{0, 5, 3, 0},   {5, 0, 3, 0},    {3, 4, 0, 0},   {1, 1, 1, 1},
                                   {2, 33, 15, 0}, {31, 32, 16, 1}, {63, 65, 4, 0}, {5, 64, 33, 0}};
  const std::vector<Size> few = {{33, 31, 18, 1}};
  for (const auto& [metric, precision] : MetricsAndPrecisions()) {
    const bool all = precision == Precision::kFloat32 &&
                     (metric == Metric::kSqeuclidean || metric == Metric::kWeightedManhattan);
    for (const Size& size : all ? sizes : few) {
      Problem p = IntegerProblem(metric, size.rows, size.cols, size.dim);
      p.precision = precision, p.shift = size.shift;
      TestIntegers(p);
    }
    if (IsForLibrary(metric, precision)) {
      Problem p = IntegerProblem(metric, 131, 260, 18);
      p.precision = precision, p.shift = 1, p.side = kByLibrary;
      TestIntegers(p);
    }
    if (metric != Metric::kSqeuclidean && !all) continue;
    Problem large = IntegerProblem(metric, 67, 129, precision == Precision::kFloat32 ? 18 : 3);
    large.precision = precision, large.side = cuda::kLargeTile;
    TestIntegers(large);
  }
}

void TestAccuracy() {
  for (const auto& [metric, precision] : MetricsAndPrecisions()) {
    Problem p = RealProblem(metric, 20, 26, 37);
    p.precision = precision;
    // Rows that are equal, and rows that are near but not equal.
    for (int64_t i = 0; i < 20 * p.dim; ++i)
      p.y[static_cast<size_t>(i)] =
          p.x[static_cast<size_t>(i)] + (i % 7 == 0 && i >= 10 * p.dim ? 0x1p-12f : 0.0f);
    for (int side : {0, kByLibrary}) {
      if (side == kByLibrary && !IsForLibrary(metric, precision)) continue;
      p.side = side;
      const Floats out = OnDevice(p);
      ExpectNear(p, out);
      if (metric == Metric::kDot || p.weighted()) continue;
      for (size_t i = 0; i < 10; ++i)
        Expect(out[i * 26 + i] == 0.0f, "distance of equal rows", p.key(), static_cast<int64_t>(i));
    }
  }
  // Rounding errors that do not average out, in rows that are almost near enough to be evaluated again.
  for (Precision precision : kPrecisions) {
    Problem p = RealProblem(Metric::kSqeuclidean, 1, 1, 40);
    p.precision = precision;
    p.x = Floats(40, 1.0035f), p.y = Floats(40, 1.1805f);
    ExpectNear(p, OnDevice(p));
  }
  Problem sigmoid = RealProblem(Metric::kWeightedManhattan, 33, 35, 20);
  sigmoid.activation = Activation::kSigmoid;
  ExpectNear(sigmoid, OnDevice(sigmoid));
}

void TestSigmoid() {
  for (const float score : {-200.0f, -60.0f, 0.0f, 60.0f, 200.0f, NAN}) {
    Problem p = IntegerProblem(Metric::kWeightedManhattan, 1, 1, 0);
    p.activation = Activation::kSigmoid;
    p.bias = score;
    const float out = OnDevice(p)[0];
    if (std::isnan(score))
      Expect(std::isnan(out), "sigmoid of NaN", 0, 0);
    else
      Expect(std::fabs(out - 1.0 / (1.0 + std::exp(-static_cast<double>(score)))) <= 0x1p-22 * out + 1e-37,
             "sigmoid", static_cast<int64_t>(score), 0);
  }
}

// Rows that hold NaN, infinities, numbers that overflow when squared, nothing but zeros.
void TestSpecialRows() {
  for (const auto& [metric, precision] : MetricsAndPrecisions()) {
    Problem p = RealProblem(metric, 9, 7, 20);
    p.precision = precision;
    p.x[3 * 20 + 4] = NAN;
    p.y[5 * 20] = NAN;
    p.x[6 * 20 + 19] = 1e30f;
    std::fill_n(p.x.begin() + 7 * 20, 20, 0.0f);
    if (metric == Metric::kCosine) {
      for (size_t d = 0; d < 20; ++d) p.x[8 * 20 + d] = (d % 3 == 0 ? -1.0f : 1.0f) * 3e38f;
      std::fill_n(p.x.begin() + 2 * 20, 20, 1e-40f);
    }
    const Floats out = OnDevice(p), core = OnCpu(p);
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t row = i / 7, col = i % 7;
      Expect(std::isnan(out[i]) == (row == 3 || col == 5), "NaN of pairwise", p.key(),
             static_cast<int64_t>(i));
      if ((row == 7 || row == 2) && col != 5 && metric == Metric::kCosine)
        Expect(out[i] == 1.0f, "zero row of cosine", p.key(), static_cast<int64_t>(i));
      if (row == 8 && col != 5 && metric == Metric::kCosine)
        Expect(std::fabs(out[i] - core[i]) < 0.01f, "largest row of cosine", p.key(),
               static_cast<int64_t>(i));
      if (row == 6 && col != 5)
        Expect(out[i] == core[i] || std::fabs(out[i] / core[i] - 1.0f) < 0.1f, "huge row", p.key(),
               static_cast<int64_t>(i));
    }
    p.y = Floats(p.y.size(), 0.5f);
    p.x[20] = INFINITY;
    if (metric != Metric::kCosine && metric != Metric::kDot && !p.weighted())
      Expect(OnDevice(p)[7] == INFINITY, "infinite row", p.key(), 0);
  }
}

// Equal arguments: symmetric bit for bit, the same as of a copy where sums are exact.
void TestSymmetry() {
  for (const auto& [metric, precision] : MetricsAndPrecisions()) {
    if (metric == Metric::kEuclidean || metric == Metric::kDot || metric == Metric::kManhattan) continue;
    for (int64_t rows : {33, 66, 129}) {
      if (rows != 66 && precision != Precision::kFloat32) continue;
      if (rows == 129 && metric != Metric::kSqeuclidean) continue;
      Problem p = RealProblem(metric, rows, rows, 10);
      p.y = p.x;
      p.precision = precision, p.y_is_x = true;
      p.side = rows == 129 ? cuda::kLargeTile : cuda::kSmallTile;
      if (rows == 33) p.x[5 * 10] = NAN, p.y = p.x;
      const Floats out = OnDevice(p);
      bool equal = true;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < rows; ++c)
          equal &= std::memcmp(&out[static_cast<size_t>(r * rows + c)],
                               &out[static_cast<size_t>(c * rows + r)], sizeof(float)) == 0;
      Expect(equal, "symmetry of pairwise", p.key(), rows);
      if (rows != 33) ExpectNear(p, out);
      if (rows == 33) Expect(std::isnan(out[5 * 33 + 5]) && std::isnan(out[5]), "NaN row", p.key(), rows);
    }
  }
  for (Metric metric : {Metric::kSqeuclidean, Metric::kManhattan}) {
    Problem p = IntegerProblem(metric, 70, 70, 3);
    p.y = p.x;
    const Floats wanted = OnCpu(p);
    p.y_is_x = true;
    Expect(OnDevice(p) == wanted, "y is x", p.key(), 0);
  }
}

struct Gradients {
  Floats dx, dy, dweights, dbias;
  bool operator==(const Gradients& other) const {
    return dx == other.dx && dy == other.dy && dweights == other.dweights && dbias == other.dbias;
  }
};

Gradients GradOnDevice(const Problem& p, const Floats& grad, const Floats& out) {
  const DeviceProblem device(p);
  const DeviceRows device_grad(grad, p.shift), device_out(out, p.shift);
  DeviceArray<char> workspace(cuda::PairwiseGradWorkspace(device.kernel, device.x_view, device.y_view));
  DeviceArray<float> dx(p.shift + p.rows * p.dim), dy(p.shift + p.cols * p.dim), dweights(p.dim), dbias(1);
  const std::string problem = cuda::PairwiseGrad(
      nullptr, device.kernel, device.x_view, device.y_view, device_grad.get(), device_out.get(),
      workspace.get(),
      {dx.get() + p.shift, dy.get() + p.shift, p.weighted() ? dweights.get() : nullptr, dbias.get()});
  Expect(problem.empty(), "gradient says nothing", p.key(), p.rows);
  Expect(dx.intact() && dy.intact() && dweights.intact() && dbias.intact() && workspace.intact(),
         "sentinels of the gradient", p.key(), p.rows);
  return {From(dx.values(), p.shift), From(dy.values(), p.shift), p.weighted() ? dweights.values() : Floats{},
          dbias.values()};
}

Gradients GradOnCpu(const Problem& p, const Floats& grad, const Floats& out) {
  Gradients g = {Floats(p.x.size()), Floats(p.y.size()), p.weights, Floats(1)};
  PairwiseGrad({}, CoreKernel(p), {p.x.data(), p.rows, p.dim}, {p.y.data(), p.cols, p.dim}, grad.data(),
               out.data(),
               {g.dx.data(), g.dy.data(), p.weighted() ? g.dweights.data() : nullptr, g.dbias.data()});
  return g;
}

// Shapes with one and several splits of the pairs, of either side, and both tiles.
void TestIntegerGradients() {
  struct Size {
    int64_t rows, cols, dim, shift;
  };
  const std::vector<Size> sizes = {{0, 5, 3, 0},    {5, 0, 3, 0},    {3, 4, 0, 0},   {1, 1, 1, 1},
                                   {33, 31, 17, 1}, {66, 67, 65, 0}, {3, 300, 5, 0}, {530, 4, 3, 0}};
  const std::vector<Size> few = {{33, 3, 17, 1}, {66, 17, 66, 0}};
  for (Metric metric : AllMetrics())
    for (Precision precision : kPrecisions) {
      if (!Multiplies(metric, precision)) continue;
      if (metric == Metric::kEuclidean || metric == Metric::kCosine) continue;
      if (metric == Metric::kDot && precision != Precision::kFloat32) continue;
      const bool all = precision == Precision::kFloat32 &&
                       (metric == Metric::kSqeuclidean || metric == Metric::kWeightedManhattan);
      for (const Size& size : all ? sizes : few) {
        Problem p = IntegerProblem(metric, size.rows, size.cols, size.dim);
        p.precision = precision, p.shift = size.shift;
        const Floats grad = Integers(p.rows * p.cols, 6), out = OnCpu(p);
        Expect(GradOnDevice(p, grad, out) == GradOnCpu(p, grad, out), "integers of the gradient", p.key(),
               p.rows * 1000 + p.dim);
      }
    }
}

// Gradients in double precision, and the sums of the magnitudes of their terms, which errors are relative to.
struct WantedGradients {
  Doubles dx, dy, dx_terms, dy_terms, dweights, dweights_terms;
  double dbias = 0;
};

double Slope(const Problem& p, double grad, double out) {
  if (p.metric == Metric::kSqeuclidean) return 2 * grad;
  if (p.metric == Metric::kEuclidean) return out == 0.0 ? 0.0 : grad / out;
  if (p.metric == Metric::kCosine) return -grad;
  return p.activation == Activation::kSigmoid ? grad * out * (1 - out) : grad;
}

WantedGradients WantedGrad(const Problem& p, const Floats& grad, const Floats& out) {
  const size_t nx = p.x.size(), ny = p.y.size(), dim = static_cast<size_t>(p.dim);
  WantedGradients w = {Doubles(nx), Doubles(ny), Doubles(nx), Doubles(ny), Doubles(dim), Doubles(dim)};
  for (int64_t r = 0; r < p.rows; ++r)
    for (int64_t c = 0; c < p.cols; ++c) {
      const size_t at = static_cast<size_t>(r * p.cols + c);
      const double a = Slope(p, grad[at], out[at]);
      const PairSums pair = SumsOf(p, r, c);
      const Doubles slopes =
          SlopesOfPair(p.metric, p.x.data() + r * p.dim, p.y.data() + c * p.dim, p.dim, p.weights.data());
      w.dbias += a;
      for (size_t d = 0; d < dim; ++d) {
        const size_t i = static_cast<size_t>(r) * dim + d, j = static_cast<size_t>(c) * dim + d;
        const double x = p.x[i], y = p.y[j], lengths = std::sqrt(pair.squares_x * pair.squares_y);
        double dx = a * (x - y), dy = -dx, dx_terms = std::fabs(a) * (std::fabs(x) + std::fabs(y)),
               dy_terms = dx_terms;
        if (p.metric == Metric::kDot) dx = a * y, dy = a * x;
        if (!IsProductMetric(p.metric)) {
          dx = a * slopes[d], dy = -dx, dx_terms = dy_terms = std::fabs(dx);
          w.dweights[d] += a * std::fabs(x - y), w.dweights_terms[d] += std::fabs(a * (x - y));
        }
        if (p.metric == Metric::kCosine) {
          const double cosine = pair.product / lengths;
          dx = lengths == 0.0 ? 0.0 : a * (y / lengths - cosine * x / pair.squares_x);
          dy = lengths == 0.0 ? 0.0 : a * (x / lengths - cosine * y / pair.squares_y);
          dx_terms = 2 * std::fabs(a) / std::sqrt(pair.squares_x + 1e-9);
          dy_terms = 2 * std::fabs(a) / std::sqrt(pair.squares_y + 1e-9);
        }
        w.dx[i] += dx, w.dy[j] += dy;
        w.dx_terms[i] += dx_terms, w.dy_terms[j] += dy_terms;
      }
    }
  return w;
}

void ExpectNear(const Problem& p, const char* what, const Floats& received, const Doubles& wanted,
                const Doubles& terms, double relative) {
  for (size_t i = 0; i < received.size(); ++i)
    Expect(std::fabs(received[i] - wanted[i]) <= relative * terms[i], what, p.key(), static_cast<int64_t>(i));
}

void TestRealGradients() {
  for (Metric metric : AllMetrics())
    for (Precision precision : kPrecisions)
      for (int64_t cols : {41, 290}) {
        if (!Multiplies(metric, precision)) continue;
        if (cols > 41 && metric != Metric::kEuclidean && metric != Metric::kWeightedManhattan) continue;
        if (cols > 41 && precision != Precision::kFloat32) continue;
        Problem p = RealProblem(metric, 15, cols, 21);
        p.precision = precision;
        if (p.weighted() && cols > 41) p.activation = Activation::kSigmoid;
        std::copy_n(p.x.begin(), p.dim, p.y.begin());  // at distance 0
        std::fill_n(p.x.begin() + 2 * p.dim, p.dim, 0.0f);
        const Floats grad = Reals(p.rows * p.cols, 16), out = OnCpu(p);
        const Gradients received = GradOnDevice(p, grad, out);
        const WantedGradients wanted = WantedGrad(p, grad, out);
        const double rounding = Gamma(p.rows + p.cols + p.dim + 16),
                     relative = rounding + 4 * Unit(precision);
        ExpectNear(p, "dx", received.dx, wanted.dx, wanted.dx_terms, relative);
        ExpectNear(p, "dy", received.dy, wanted.dy, wanted.dy_terms, relative);
        if (p.weighted())
          ExpectNear(p, "dweights", received.dweights, wanted.dweights, wanted.dweights_terms, rounding);
        Expect(std::fabs(received.dbias[0] - wanted.dbias) <= rounding * static_cast<double>(grad.size()),
               "dbias", p.key(), 0);
      }
}

// Whatever the incoming gradient is, pairs at distance 0 have none; and NaN where a difference is NaN.
void TestSpecialGradients() {
  for (Metric metric : AllMetrics())
    for (float value : {NAN, INFINITY}) {
      if (IsProductMetric(metric) && metric != Metric::kEuclidean) continue;
      Problem p = RealProblem(metric, 1, 1, 5);
      p.y = p.x;
      const Gradients g = GradOnDevice(p, {value}, {0.0f});
      Expect(g.dx == Floats(5, 0.0f) && g.dy == Floats(5, 0.0f), "gradient at distance 0", p.key(), 0);
    }
  for (Metric metric : AllMetrics()) {
    if (IsProductMetric(metric)) continue;
    Problem p = RealProblem(metric, 20, 18, 6);
    p.x[3] = NAN, p.x[6 + 1] = INFINITY, p.y[6 + 1] = INFINITY, p.y[7 * 6 + 5] = -INFINITY;
    const Floats grad = Reals(p.rows * p.cols, 6), out = OnCpu(p);
    const Gradients device = GradOnDevice(p, grad, out), core = GradOnCpu(p, grad, out);
    for (const auto& [a, b] :
         {std::pair{device.dx, core.dx}, {device.dy, core.dy}, {device.dweights, core.dweights}})
      for (size_t i = 0; i < a.size(); ++i)
        Expect(std::isnan(a[i]) ? std::isnan(b[i]) : a[i] == b[i] || std::fabs(a[i] - b[i]) < 1e-4f,
               "gradient of what is not finite", p.key(), static_cast<int64_t>(i));
  }
}

}  // namespace

void CheckCudaPairwise() {
  TestSizes();
  TestAccuracy();
  TestSigmoid();
  TestSpecialRows();
  TestSymmetry();
  TestIntegerGradients();
  TestRealGradients();
  TestSpecialGradients();
}

}  // namespace fslcore
