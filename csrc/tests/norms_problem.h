// SPDX-License-Identifier: MIT
// Networks on norms by plain loops in double precision, for the core and the CUDA kernels.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/norms/norms.h"
#include "tests/inputs.h"

namespace fslcore {

// The results by argument, in order: out alone, or dx, dy, dx_scales, dy_scales, dhidden, dhidden_bias,
// dmixing, dweights, dbias.
using NormsResults = std::vector<std::vector<double>>;

struct NormsProblem {
  int64_t norms;
  Activation activation;
  int64_t rows, cols, dim, filters;
  std::vector<float> x, y, x_scales, y_scales, hidden, hidden_bias, mixing, weights, grad;
  float bias = 3.0f;

  // Small integers, so that without unit_product, softmax and sigmoid all sums are exact.
  NormsProblem(int64_t mask, Activation act, int64_t n, int64_t m, int64_t d, int64_t f)
      : norms(mask), activation(act), rows(n), cols(m), dim(d), filters(f) {
    const auto small = [](int64_t size, unsigned seed, float factor) {
      std::vector<float> values = Integers(size, seed);
      for (float& value : values) value = std::trunc(value / 3.0f) * factor;  // from -2 to 2
      return values;
    };
    const float factor = exact() ? 1.0f : 0.375f;
    x = small(n * d, 1, factor), y = small(m * d, 2, factor);
    const bool scaled = HasNorm(norms, Norm::kUnitProduct);
    for (int64_t i = 0; scaled && i < n; ++i) x_scales.push_back(0.25f + 0.125f * static_cast<float>(i % 3));
    for (int64_t i = 0; scaled && i < m; ++i) y_scales.push_back(0.5f - 0.125f * static_cast<float>(i % 2));
    hidden = small(f * CountNorms(norms), 3, factor), hidden_bias = small(f, 4, factor);
    mixing = small(f, 5, factor), weights = small(d, 6, factor), grad = small(n * m, 7, 1.0f);
  }

  bool exact() const {
    return activation == Activation::kNone && !HasNorm(norms, Norm::kUnitProduct) &&
           !HasNorm(norms, Norm::kSoftmax);
  }
  NormNetwork network() const {
    return {norms,
            activation,
            {hidden.data(), filters, CountNorms(norms)},
            hidden_bias.data(),
            mixing.data(),
            {weights.data(), dim},
            bias};
  }

  struct Of {
    double value, by_q, by_s;  // of softmax, by |q - s| alone
  };
  Of NormOf(Norm norm, double q, double s, double scale, double largest, double sum) const {
    const double sign = q > s ? 1 : q < s ? -1 : 0, share = std::exp(std::fabs(q - s) - largest) / sum;
    switch (norm) {
      case Norm::kFirst:
        return {q, 1, 0};
      case Norm::kSecond:
        return {s, 0, 1};
      case Norm::kProduct:
        return {q * s, s, q};
      case Norm::kSum:
        return {q + s, 1, 1};
      case Norm::kAbsolute:
        return {std::fabs(q - s), sign, -sign};
      case Norm::kSquared:
        return {(q - s) * (q - s), 2 * (q - s), 2 * (s - q)};
      case Norm::kUnitProduct:
        return {1 - q * s * scale, -s * scale, -q * scale};
      default:
        return {share, sign, -sign};
    }
  }

  // All results; the gradient is that of the sum of grad times out.
  NormsResults Solve(NormsResults* gradients) const {
    Norm of[kMostNorms];
    ListNorms(norms, of);
    const auto k = static_cast<size_t>(CountNorms(norms)), f = static_cast<size_t>(filters);
    const auto n = static_cast<size_t>(rows), m = static_cast<size_t>(cols), d = static_cast<size_t>(dim);
    NormsResults out = {std::vector<double>(n * m)};
    NormsResults by = {std::vector<double>(n * d),
                       std::vector<double>(m * d),
                       std::vector<double>(x_scales.size()),
                       std::vector<double>(y_scales.size()),
                       std::vector<double>(f * k),
                       std::vector<double>(f),
                       std::vector<double>(f),
                       std::vector<double>(d),
                       std::vector<double>(1)};
    for (size_t r = 0; r < n; ++r)
      for (size_t c = 0; c < m; ++c) {
        const double scale = x_scales.empty() ? 0 : double{x_scales[r]} * double{y_scales[c]};
        double largest = 0, sum = 0, score = bias;
        for (size_t i = 0; i < d; ++i)
          largest = std::max(largest, std::fabs(double{x[r * d + i]} - double{y[c * d + i]}));
        for (size_t i = 0; i < d; ++i)
          sum += std::exp(std::fabs(double{x[r * d + i]} - double{y[c * d + i]}) - largest);
        const auto at = [&](size_t i, size_t j) {
          return NormOf(of[j], x[r * d + i], y[c * d + i], scale, largest, sum);
        };
        const auto filter = [&](size_t i, size_t g) {
          double total = hidden_bias[g];
          for (size_t j = 0; j < k; ++j) total += hidden[g * k + j] * at(i, j).value;
          return total;
        };
        for (size_t i = 0; i < d; ++i)
          for (size_t g = 0; g < f; ++g) score += weights[i] * mixing[g] * std::max(0.0, filter(i, g));
        const bool sigmoid = activation == Activation::kSigmoid;
        const double value = sigmoid ? 1 / (1 + std::exp(-score)) : score;
        out[0][r * m + c] = value;
        const double grad_of_pair = grad[r * m + c] * (sigmoid ? value * (1 - value) : 1);
        by[8][0] += grad_of_pair;
        double along = 0;
        std::vector<double> by_softmax(d);
        for (size_t i = 0; i < d; ++i)
          for (size_t g = 0; g < f; ++g) {
            const double passed = filter(i, g), w = grad_of_pair * weights[i];
            by[7][i] += grad_of_pair * mixing[g] * std::max(0.0, passed);
            by[6][g] += w * std::max(0.0, passed);
            if (passed <= 0) continue;
            by[5][g] += w * mixing[g];
            for (size_t j = 0; j < k; ++j) {
              const Of norm = at(i, j);
              by[4][g * k + j] += w * mixing[g] * norm.value;
              const double slope = w * mixing[g] * hidden[g * k + j];
              if (of[j] == Norm::kSoftmax) {
                by_softmax[i] += slope;
                along += slope * norm.value;
                continue;
              }
              by[0][r * d + i] += slope * norm.by_q;
              by[1][c * d + i] += slope * norm.by_s;
              if (of[j] != Norm::kUnitProduct) continue;
              by[2][r] -= slope * x[r * d + i] * y[c * d + i] * y_scales[c];
              by[3][c] -= slope * x[r * d + i] * y[c * d + i] * x_scales[r];
            }
          }
        if (!HasNorm(norms, Norm::kSoftmax)) continue;
        for (size_t i = 0; i < d; ++i) {
          const Of norm = at(i, k - 1);  // the last of the norms
          by[0][r * d + i] += norm.value * (by_softmax[i] - along) * norm.by_q;
          by[1][c * d + i] += norm.value * (by_softmax[i] - along) * norm.by_s;
        }
      }
    *gradients = by;
    return out;
  }
};

// Around vectors and panels, nothing of each kind, and every norm; the last two are not exact.
inline std::vector<NormsProblem> NormsProblems() {
  constexpr int64_t kMixed = 0b00111100, kExact = 0b00111111, kAll = 0b11111111, kFirstTwo = 0b11;
  const auto none = Activation::kNone;
  return {NormsProblem(kFirstTwo, none, 3, 17, 5, 4),
          NormsProblem(kMixed, none, 9, 31, 3, 5),
          NormsProblem(kExact, none, 17, 2, 7, 3),
          NormsProblem(kMixed, none, 0, 3, 2, 2),
          NormsProblem(kMixed, none, 3, 0, 2, 2),
          NormsProblem(kAll, none, 2, 3, 0, 2),
          NormsProblem(0b100, none, 1, 1, 1, 1),
          NormsProblem(0b10100, none, 2, 5, 3, 0),
          NormsProblem(kAll, Activation::kSigmoid, 5, 19, 6, 3),
          NormsProblem(0b11110000, Activation::kSigmoid, 4, 8, 9, 2)};
}

// Whether results are those of the loops: exactly for an exact problem, else to 1e-5 of the largest.
inline bool AreClose(const NormsProblem& problem, const std::vector<float>& got,
                     const std::vector<double>& want) {
  if (got.size() != want.size()) return false;
  double largest = 1;
  for (double value : want) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::fabs(double{got[i]} - want[i]);
    if (!(error <= (problem.exact() ? 0.0 : 1e-5 * largest))) return false;
  }
  return true;
}

}  // namespace fslcore
