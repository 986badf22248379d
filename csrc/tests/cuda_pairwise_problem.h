// SPDX-License-Identifier: MIT
// Pairwise matrices for the tests of csrc/cuda: problems, the device's answers and the core's, and what
// answers in float32 and less may differ from those in double precision.
#pragma once
#include <cmath>
#include <string>

#include "core/pairwise/pairwise.h"
#include "cuda/pairwise/pairwise.h"
#include "cuda/pairwise/pairwise_tiles.h"
#include "tests/cuda_check.h"
#include "tests/device_memory.h"
#include "tests/inputs.h"
#include "tests/pairwise_loops.h"

namespace fslcore {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

inline constexpr Precision kPrecisions[] = {Precision::kFloat32, Precision::kTf32, Precision::k3xTf32,
                                            Precision::kBfloat16};

inline double Gamma(int64_t k) {
  return static_cast<double>(k) * 0x1p-24 / (1.0 - static_cast<double>(k) * 0x1p-24);
}

// Half the last bit of an operand.
inline double Unit(Precision precision) {
  return precision == Precision::kTf32       ? 0x1p-11
         : precision == Precision::k3xTf32   ? 0x1p-22
         : precision == Precision::kBfloat16 ? 0x1p-8
                                             : 0.0;
}

inline Floats Reals(int64_t size, unsigned seed) {
  Floats values(static_cast<size_t>(size));
  for (float& v : values)
    v = static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1.0f;
  return values;
}

// Rows on the device, `shift` floats behind an aligned address.
class DeviceRows {
 public:
  DeviceRows(const Floats& values, int64_t shift) : shift_(shift), array_(Shifted(values, shift)) {}
  const float* get() const { return array_.get() + shift_; }

 private:
  static Floats Shifted(Floats values, int64_t shift) {
    values.insert(values.begin(), static_cast<size_t>(shift), 0.0f);
    return values;
  }
  int64_t shift_;
  DeviceArray<float> array_;
};

constexpr int kByLibrary = -1;  // as the side of tiles

// Whether a library forms the products if it is asked to.
inline bool IsForLibrary(Metric metric, Precision precision) {
  return IsProductMetric(metric) && (precision == Precision::kTf32 || precision == Precision::kBfloat16);
}

struct Problem {
  Metric metric = Metric::kSqeuclidean;
  int64_t rows = 1, cols = 1, dim = 1;
  Precision precision = Precision::kFloat32;
  Activation activation = Activation::kNone;
  int64_t shift = 0;  // of what is read and written, in floats
  int side = 0;       // of the tiles; 0 leaves it to Pairwise
  Floats x = {}, y = {};
  bool y_is_x = false;
  Floats weights = {};
  float bias = 0.0f;

  bool weighted() const { return metric == Metric::kWeightedManhattan; }
  int64_t key() const {
    return static_cast<int64_t>(metric) * 100 + static_cast<int64_t>(precision) * 10 + shift;
  }
};

inline Problem IntegerProblem(Metric metric, int64_t rows, int64_t cols, int64_t dim) {
  Problem p;
  p.metric = metric;
  p.rows = rows, p.cols = cols, p.dim = dim;
  p.x = Integers(rows * dim, 3), p.y = Integers(cols * dim, 4);
  if (p.weighted()) p.weights = Integers(dim, 5), p.bias = 2.0f;
  return p;
}

inline Problem RealProblem(Metric metric, int64_t rows, int64_t cols, int64_t dim) {
  Problem p = IntegerProblem(metric, rows, cols, dim);
  p.x = Reals(rows * dim, 13), p.y = Reals(cols * dim, 14);
  if (p.weighted()) p.weights = Reals(dim, 15), p.bias = 0.25f;
  return p;
}

inline fslcore::PairwiseKernel CoreKernel(const Problem& p) {
  return {p.metric, p.activation, {p.weights.data(), static_cast<int64_t>(p.weights.size())}, p.bias};
}

// What is on the device for a problem.
struct DeviceProblem {
  DeviceRows x, y, weights;
  DeviceArray<float> bias;
  Matrix<const float> x_view, y_view;
  cuda::PairwiseKernel kernel;

  explicit DeviceProblem(const Problem& p)
      : x(p.x, p.shift), y(p.y, p.shift), weights(p.weights, p.shift), bias(Floats{p.bias}) {
    x_view = {x.get(), p.rows, p.dim};
    y_view = {p.y_is_x ? x.get() : y.get(), p.cols, p.dim};
    kernel.metric = p.metric;
    kernel.activation = p.activation;
    kernel.precision = p.precision;
    if (p.weighted()) {
      kernel.weights = {weights.get(), p.dim};
      kernel.bias = bias.get();
    }
  }
};

inline Floats From(const Floats& values, int64_t shift) { return {values.begin() + shift, values.end()}; }

inline Floats OnDevice(const Problem& p) {
  const DeviceProblem device(p);
  int64_t bytes = cuda::PairwiseWorkspace(device.kernel, device.x_view, device.y_view);
  if (p.side == kByLibrary) bytes += cuda::PairwiseByLibraryWorkspace(device.x_view, device.y_view);
  DeviceArray<char> workspace(bytes);
  DeviceArray<float> out(p.shift + p.rows * p.cols);
  float* to = out.get() + p.shift;
  const auto pairwise = p.side == kByLibrary ? cuda::PairwiseByLibrary : cuda::Pairwise;
  const std::string problem =
      p.side <= 0 ? pairwise(nullptr, device.kernel, device.x_view, device.y_view, workspace.get(), to)
                  : cuda::PairwiseInTiles(p.side, nullptr, device.kernel, device.x_view, device.y_view,
                                          workspace.get(), to);
  Expect(problem.empty(), "pairwise says nothing", p.key(), p.rows);
  Expect(out.intact() && workspace.intact(), "sentinels of pairwise", p.key(), p.rows);
  return From(out.values(), p.shift);
}

inline Floats OnCpu(const Problem& p) {
  Floats out(static_cast<size_t>(p.rows * p.cols));
  Pairwise({}, CoreKernel(p), {p.x.data(), p.rows, p.dim}, {p.y.data(), p.cols, p.dim}, out.data());
  return out;
}

inline PairSums SumsOf(const Problem& p, int64_t r, int64_t c) {
  return SumsOfPair(p.metric, p.x.data() + r * p.dim, p.y.data() + c * p.dim, p.dim, p.weights.data());
}

// The metric of a pair of finite rows in double precision, and how far a float32 may be from it.
struct Bounded {
  double value, bound;
};

inline Bounded Wanted(const Problem& p, int64_t r, int64_t c) {
  const PairSums pair = SumsOf(p, r, c);
  const double unit = Unit(p.precision), rounding = Gamma(p.dim + 8);
  // Rounded rows are 16 half bits of the distance from where they were, in that distance, unless it is
  // computed again; 3xTF32 leaves out three such parts of the product instead.
  const double again = p.precision == Precision::k3xTf32 ? 384 * unit : 33 * unit;
  switch (p.metric) {
    case Metric::kSqeuclidean:
      return {pair.sum, (256 * rounding + again) * pair.sum};
    case Metric::kEuclidean:
      return {std::sqrt(pair.sum), (128 * rounding + again / 2) * std::sqrt(pair.sum)};
    case Metric::kCosine: {
      const double lengths = std::sqrt(pair.squares_x * pair.squares_y);
      const double distance = lengths == 0.0 ? 1.0 : 1.0 - pair.product / lengths;
      return {distance, (512 * rounding + again) * distance + 0x1p-44};
    }
    case Metric::kDot:
      return {pair.sum, (rounding + 3 * unit) * pair.magnitudes};
    case Metric::kWeightedManhattan: {
      const double score = pair.sum + p.bias, bound = rounding * (pair.magnitudes + std::fabs(p.bias));
      if (p.activation == Activation::kNone) return {score, bound};
      const double value = 1.0 / (1.0 + std::exp(-score));
      return {value, (bound + 8 * 0x1p-24) * value};
    }
    default:
      return {pair.sum, rounding * pair.magnitudes};
  }
}

inline void ExpectNear(const Problem& p, const Floats& received) {
  for (int64_t r = 0; r < p.rows; ++r)
    for (int64_t c = 0; c < p.cols; ++c) {
      const Bounded wanted = Wanted(p, r, c);
      const double error = std::fabs(received[static_cast<size_t>(r * p.cols + c)] - wanted.value);
      Expect(error <= wanted.bound, "bound of pairwise", p.key(), r * 1000 + c);
    }
}

}  // namespace fslcore
