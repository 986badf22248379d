// SPDX-License-Identifier: MIT
// What the kernels of networks on norms do with one coordinate of one pair.
#pragma once
#include <cmath>

#include "core/norms/norms.h"
#include "cuda/launch.h"

namespace fslcore::cuda::norms {

// The arguments of a kernel. Pairs are counted row by row.
struct Network {
  Norm of[kMostNorms];
  bool has_unit, has_softmax;
  Activation activation;
  int64_t filters, dim, rows, cols;
  const float *hidden, *hidden_bias, *mixing, *weights;
  const float *x, *y, *x_scales, *y_scales;
};

// What the coordinates of a pair have in common.
struct PairScales {
  float unit = 0.0f;                   // the product of the scales of the rows
  float largest = 0.0f, share = 0.0f;  // of softmax: the largest |q - s|, one over the sum of exponentials
  float along = 0.0f;                  // of softmax: the sum of slope times value over the coordinates
};

__device__ inline float ValueOfNorm(Norm norm, float q, float s, const PairScales& scales) {
  const float difference = q - s;
  switch (norm) {
    case Norm::kFirst:
      return q;
    case Norm::kSecond:
      return s;
    case Norm::kProduct:
      return q * s;
    case Norm::kSum:
      return q + s;
    case Norm::kAbsolute:
      return fabsf(difference);
    case Norm::kSquared:
      return difference * difference;
    case Norm::kUnitProduct:
      return 1.0f - q * s * scales.unit;
    default:
      return expf(fabsf(difference) - scales.largest) * scales.share;
  }
}

// The norms of a coordinate, and the sum of the filters' weights on each of them, and of their biases (the
// last slope), over the filters that pass.
template <int kNorms>
struct Coordinate {
  float values[kNorms], slopes[kNorms + 1];

  __device__ Coordinate(const Network& n, float q, float s, const PairScales& scales) {
    FSLCORE_UNROLL
    for (int k = 0; k < kNorms; ++k) values[k] = ValueOfNorm(n.of[k], q, s, scales);
  }

  __device__ float Sum(const Network& n, int64_t f) const {
    float sum = n.hidden_bias[f];
    FSLCORE_UNROLL
    for (int k = 0; k < kNorms; ++k) sum = fmaf(n.hidden[f * kNorms + k], values[k], sum);
    return sum;
  }

  // What the filters make of it.
  __device__ float Mixed(const Network& n) const {
    float mixed = 0.0f;
    for (int64_t f = 0; f < n.filters; ++f) {
      const float sum = Sum(n, f);
      mixed = fmaf(n.mixing[f], sum <= 0.0f ? 0.0f : sum, mixed);  // a NaN passes
    }
    return mixed;
  }

  // The same by way of the slopes, which it finds.
  __device__ float MixedAndSlopes(const Network& n) {
    FSLCORE_UNROLL
    for (int k = 0; k <= kNorms; ++k) slopes[k] = 0.0f;
    for (int64_t f = 0; f < n.filters; ++f) {
      if (Sum(n, f) <= 0.0f) continue;
      const float mixing = n.mixing[f];
      FSLCORE_UNROLL
      for (int k = 0; k < kNorms; ++k) slopes[k] = fmaf(mixing, n.hidden[f * kNorms + k], slopes[k]);
      slopes[kNorms] = fmaf(mixing, n.hidden_bias[f], slopes[kNorms]);
    }
    float mixed = slopes[kNorms];
    FSLCORE_UNROLL
    for (int k = 0; k < kNorms; ++k) mixed = fmaf(slopes[k], values[k], mixed);
    return mixed;
  }
};

// a * sign(d): 0 for a zero d, NaN for NaN.
__device__ inline float Signed(float a, float d) {
  return d == 0.0f ? 0.0f : d < 0.0f ? -a : d > 0.0f ? a : d;
}

// The derivative of a norm with respect to q, or with respect to s, times its slope.
template <bool kOfSecond>
__device__ float ByCoordinate(Norm norm, float slope, float value, float q, float s,
                              const PairScales& scales) {
  const float sign = kOfSecond ? -1.0f : 1.0f, other = kOfSecond ? q : s;
  switch (norm) {
    case Norm::kFirst:
      return kOfSecond ? 0.0f : slope;
    case Norm::kSecond:
      return kOfSecond ? slope : 0.0f;
    case Norm::kProduct:
      return slope * other;
    case Norm::kSum:
      return slope;
    case Norm::kAbsolute:
      return sign * Signed(slope, q - s);
    case Norm::kSquared:
      return sign * slope * (2.0f * (q - s));
    case Norm::kUnitProduct:
      return -slope * scales.unit * other;
    default:
      return sign * Signed(value * (slope - scales.along), q - s);
  }
}

// d loss / d (the sum inside the activation).
__device__ inline float Coefficient(Activation activation, float grad, float out) {
  return activation == Activation::kSigmoid ? grad * (out * (1.0f - out)) : grad;
}

}  // namespace fslcore::cuda::norms
