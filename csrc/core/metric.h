// SPDX-License-Identifier: MIT
// The pairwise metrics and their names, the same in C++, in the TensorFlow ops and in Python.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace fslcore {

enum class Metric { kSqeuclidean, kEuclidean, kCosine, kDot, kManhattan, kWeightedManhattan };
enum class Activation { kNone, kSigmoid };

inline constexpr std::array<std::string_view, 6> kMetricNames = {
    "sqeuclidean", "euclidean", "cosine", "dot", "manhattan", "weighted_manhattan"};

inline std::optional<Metric> ParseMetric(std::string_view name) {
  for (size_t i = 0; i < kMetricNames.size(); ++i)
    if (kMetricNames[i] == name) return static_cast<Metric>(i);
  return std::nullopt;
}

inline std::optional<Activation> ParseActivation(std::string_view name) {
  if (name == "none") return Activation::kNone;
  if (name == "sigmoid") return Activation::kSigmoid;
  return std::nullopt;
}

// Computed from one product per pair, <x, y>, rather than one difference per coordinate.
inline bool IsProductMetric(Metric metric) {
  return metric != Metric::kManhattan && metric != Metric::kWeightedManhattan;
}

}  // namespace fslcore
