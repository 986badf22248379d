// SPDX-License-Identifier: MIT
// The triplet loss and its gradient by double-precision loops over given triplets.
#pragma once
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/arrays/views.h"
#include "core/pairwise/metric.h"
#include "core/triplets/triplets.h"

namespace fslcore {

inline std::vector<Mining> Minings() {
  std::vector<Mining> all;
  for (size_t i = 0; i < kMiningNames.size(); ++i) all.push_back(static_cast<Mining>(i));
  return all;
}

// A batch on both sides; the last `padding` rows do not count.
struct Sample {
  int64_t rows, dim;
  std::vector<float> x;
  std::vector<int64_t> labels;
  int64_t padding = 0;

  int64_t real() const { return rows - padding; }
  Matrix<const float> view() const { return {x.data(), real(), dim}; }
  Vector<const int64_t> given() const { return {labels.data(), real()}; }
};

struct Lists {
  std::vector<int32_t> anchor, positive, negative;
};

using Doubles = std::vector<double>;

// The loss and its gradient by double-precision loops over given triplets, and for each entry of the gradient
// the sum of the magnitudes that it is made of.
struct Reference {
  double loss = 0.0, size = 0.0;  // size: the sum of the distances in the terms
  Doubles grad, sizes;
};

class ByLoops {
 public:
  ByLoops(Metric metric, const Sample& sample) : metric_(metric), sample_(sample) {
    const auto dim = static_cast<size_t>(sample.dim);
    unit_.assign(sample.x.begin(), sample.x.end());
    norms_.assign(static_cast<size_t>(sample.rows), 1.0);
    if (metric != Metric::kCosine) return;
    for (size_t i = 0; i < norms_.size(); ++i) {
      double square = 0.0;
      for (size_t d = 0; d < dim; ++d) square += unit_[i * dim + d] * unit_[i * dim + d];
      norms_[i] = std::sqrt(square);
      for (size_t d = 0; d < dim && square > 0.0; ++d) unit_[i * dim + d] /= norms_[i];
    }
  }

  double Distance(int64_t a, int64_t b) const {
    double square = 0.0;
    for (int64_t d = 0; d < sample_.dim; ++d) square += Difference(a, b, d) * Difference(a, b, d);
    if (metric_ == Metric::kEuclidean) return std::sqrt(square);
    if (metric_ == Metric::kCosine) return IsZero(a) || IsZero(b) ? 1.0 : 0.5 * square;
    return square;
  }

  Reference Evaluate(const Lists& lists, float margin) const {
    Reference out;
    out.grad.assign(unit_.size(), 0.0);
    out.sizes.assign(unit_.size(), 0.0);
    const auto count = static_cast<double>(lists.anchor.size());
    for (size_t t = 0; t < lists.anchor.size(); ++t) {
      const int64_t a = lists.anchor[t], p = lists.positive[t], n = lists.negative[t];
      const double to_p = Distance(a, p), to_n = Distance(a, n), term = to_p - to_n + margin;
      out.size += (to_p + to_n + std::fabs(margin)) / count;
      if (term <= 0.0) continue;
      out.loss += term / count;
      AddEdge(a, p, Slope(a, p, to_p) / count, &out);
      AddEdge(a, n, -Slope(a, n, to_n) / count, &out);
    }
    if (metric_ == Metric::kCosine) Project(&out);
    return out;
  }

 private:
  double Difference(int64_t a, int64_t b, int64_t d) const {
    return unit_[static_cast<size_t>(a * sample_.dim + d)] - unit_[static_cast<size_t>(b * sample_.dim + d)];
  }
  bool IsZero(int64_t row) const { return norms_[static_cast<size_t>(row)] == 0.0; }
  double Slope(int64_t a, int64_t b, double distance) const {
    if (metric_ == Metric::kSqeuclidean) return 2.0;
    if (metric_ == Metric::kCosine) return IsZero(a) || IsZero(b) ? 0.0 : 1.0;
    return distance == 0.0 ? 0.0 : 1.0 / distance;
  }
  void AddEdge(int64_t a, int64_t b, double slope, Reference* out) const {
    for (int64_t d = 0; d < sample_.dim; ++d) {
      const double part = slope * Difference(a, b, d);
      // What is rounded is the difference of normalised rows, however small it is.
      const double size = metric_ == Metric::kCosine ? std::fabs(slope) : std::fabs(part);
      for (const auto& [row, sign] : {std::pair{a, 1.0}, std::pair{b, -1.0}}) {
        out->grad[static_cast<size_t>(row * sample_.dim + d)] += sign * part;
        out->sizes[static_cast<size_t>(row * sample_.dim + d)] += size;
      }
    }
  }
  void Project(Reference* out) const {
    const auto dim = static_cast<size_t>(sample_.dim);
    for (size_t i = 0; i < norms_.size(); ++i) {
      double along = 0.0, size = 0.0;
      for (size_t d = 0; d < dim; ++d) {
        along += unit_[i * dim + d] * out->grad[i * dim + d];
        size += out->sizes[i * dim + d];
      }
      for (size_t d = 0; d < dim; ++d) {
        const size_t at = i * dim + d;
        out->grad[at] = norms_[i] == 0.0 ? 0.0 : (out->grad[at] - unit_[at] * along) / norms_[i];
        out->sizes[at] = norms_[i] == 0.0 ? 0.0 : (out->sizes[at] + size) / norms_[i];
      }
    }
  }

  const Metric metric_;
  const Sample& sample_;
  Doubles unit_, norms_;
};

}  // namespace fslcore
