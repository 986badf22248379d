// SPDX-License-Identifier: MIT
// Statistics of batch normalisation.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/convolution/conv_block.h"

namespace fslcore {

// Mean and sum of squared deviations by columns, combined block by block in double (Chan, Golub and LeVeque,
// "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
struct Moments {
  int64_t count = 0;
  std::vector<double> mean, squares;

  explicit Moments(int64_t cols) : mean(static_cast<size_t>(cols)), squares(static_cast<size_t>(cols)) {}

  template <class Number>
  void Add(int64_t rows, const Number* other_mean, const Number* other_squares) {
    if (rows == 0) return;
    const double share = static_cast<double>(rows) / static_cast<double>(count + rows);
    for (size_t c = 0; c < mean.size(); ++c) {
      const double delta = other_mean[c] - mean[c];
      mean[c] += delta * share;
      squares[c] += other_squares[c] + delta * delta * share * static_cast<double>(count);
    }
    count += rows;
  }

  // As floats; without rows both are 0.
  void Write(float* to_mean, float* to_variance) const {
    for (size_t c = 0; c < mean.size(); ++c) {
      to_mean[c] = static_cast<float>(mean[c]);
      to_variance[c] = static_cast<float>(squares[c] / static_cast<double>(std::max<int64_t>(1, count)));
    }
  }
};

// gamma / sqrt(variance + epsilon), and 1 / the root alone.
struct Scales {
  Scratch<float> scale, inverse;

  Scales(const ConvBlockInputs& inputs, const float* variance, int64_t filters)
      : scale(filters), inverse(filters) {
    for (int64_t c = 0; c < filters; ++c) {
      inverse[c] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(variance[c]) + inputs.epsilon));
      scale[c] = inputs.gamma[c] * inverse[c];
    }
  }
};

}  // namespace fslcore
