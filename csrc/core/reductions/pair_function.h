// SPDX-License-Identifier: MIT
// The functions of pair_terms.h and their slopes for one pair, for the CUDA kernels.
#pragma once
#include <math.h>

#include <cstdint>

#include "core/arrays/host_device.h"
#include "core/reductions/pair_terms.h"

namespace fslcore {

FSLCORE_HOST_DEVICE inline float PositivePart(float t) { return t <= 0.0f ? 0.0f : t; }  // NaN stays

FSLCORE_HOST_DEVICE inline float LogOfSum(float u, float v) {
  if (u == v) return u + 0.69314718f;  // both may be -infinity
  return (u > v ? u : v) + log1pf(expf(-fabsf(u - v)));
}

FSLCORE_HOST_DEVICE inline float LogisticOf(float t) { return 1.0f / (1.0f + expf(-t)); }

// Of a pair: the function of t and its slope. u and v are the levels of lifted.
FSLCORE_HOST_DEVICE inline float ValueOfPair(PairFunction function, const PairParameters& p, float t, float u,
                                             float v) {
  switch (function) {
    case PairFunction::kLinear:
      return t;
    case PairFunction::kHinge:
      return PositivePart(t);
    case PairFunction::kSquaredHinge:
      return PositivePart(t) * PositivePart(t);
    case PairFunction::kSoftplus:
      return PositivePart(t) + log1pf(expf(-fabsf(t)));
    case PairFunction::kCircle:
      return p.gain * PositivePart(t) * (t - p.shift);
    case PairFunction::kLifted: {
      const float sum = PositivePart(t + LogOfSum(u, v));
      return sum * sum;
    }
  }
  return 0.0f;
}

FSLCORE_HOST_DEVICE inline float SlopeOfPair(PairFunction function, const PairParameters& p, float t, float u,
                                             float v) {
  switch (function) {
    case PairFunction::kLinear:
      return 1.0f;
    case PairFunction::kHinge:
      return t != t ? t : t > 0.0f ? 1.0f : 0.0f;
    case PairFunction::kSquaredHinge:
      return 2.0f * PositivePart(t);
    case PairFunction::kSoftplus:
      return LogisticOf(t);
    case PairFunction::kCircle:
      return p.gain * PositivePart(t);
    case PairFunction::kLifted:
      return 2.0f * PositivePart(t + LogOfSum(u, v));
  }
  return 0.0f;
}

// d log(e^u + e^v) / d u.
FSLCORE_HOST_DEVICE inline float ShareOfSum(float u, float v) { return u == v ? 0.5f : LogisticOf(u - v); }

FSLCORE_HOST_DEVICE inline bool IsPairOf(PairGroup group, int64_t a, int64_t b) {
  return a != 0 && b != 0 && (group == PairGroup::kAll || (a == b) == (group == PairGroup::kPositive));
}

}  // namespace fslcore
