// SPDX-License-Identifier: MIT
// The pairwise metrics and their names, the same in C++, in the TensorFlow ops and in Python.
#pragma once
#include <array>
#include <string_view>

namespace fslcore {

enum class Metric { kSqeuclidean, kEuclidean, kCosine, kDot, kManhattan, kWeightedManhattan };
enum class Activation { kNone, kSigmoid };

inline constexpr std::array<std::string_view, 6> kMetricNames = {
    "sqeuclidean", "euclidean", "cosine", "dot", "manhattan", "weighted_manhattan"};

inline constexpr std::array<std::string_view, 2> kActivationNames = {"none", "sigmoid"};

// The precision of the factors of products, whose sums are always float32. Metrics on a CPU multiply in
// float32 at every precision.
enum class Precision {
  kFloat32,   // exact: fused multiply-adds
  kTf32,      // tensor cores, operands rounded to 11 bits
  k3xTf32,    // tensor cores, operands as sums of two such numbers, three products: about 21 bits
  kBfloat16,  // tensor cores, operands rounded to 8 bits
};

inline constexpr std::array<std::string_view, 4> kPrecisionNames = {"float32", "tf32", "3xtf32", "bfloat16"};

// The names of an enumeration, in the order of its values.
inline constexpr const auto& NamesOf(Metric) { return kMetricNames; }
inline constexpr const auto& NamesOf(Activation) { return kActivationNames; }
inline constexpr const auto& NamesOf(Precision) { return kPrecisionNames; }

// Computed from one product per pair, <x, y>, rather than one difference per coordinate.
inline bool IsProductMetric(Metric metric) {
  return metric != Metric::kManhattan && metric != Metric::kWeightedManhattan;
}

}  // namespace fslcore
