// SPDX-License-Identifier: MIT
// The pairwise metrics: what they compute, their properties, and their names, the same in C++, in the
// TensorFlow ops and in Python.
//
//   sqeuclidean         sum_d (x_d - y_d)^2          euclidean   its square root
//   cosine              1 - <x, y> / (|x| |y|); a zero row is at distance 1 from everything, with gradient 0
//   dot                 <x, y>                       manhattan   sum_d |x_d - y_d|
//   weighted_manhattan  act(sum_d w_d |x_d - y_d| + bias), act = identity or the logistic sigmoid
//   chebyshev           max_d |x_d - y_d|; the gradient goes to the first d that attains it, and is NaN in
//   all
//                       if the distance is NaN
#pragma once
#include <array>
#include <string_view>
#include <type_traits>

namespace fslcore {

enum class Metric { kSqeuclidean, kEuclidean, kCosine, kDot, kManhattan, kWeightedManhattan, kChebyshev };
enum class Activation { kNone, kSigmoid };

inline constexpr std::array<std::string_view, 7> kMetricNames = {
    "sqeuclidean", "euclidean", "cosine", "dot", "manhattan", "weighted_manhattan", "chebyshev"};

// What a metric makes of the coordinates of a pair of rows, before it is finished.
enum class Pair {
  kProduct,           // sum_d x_d y_d
  kAbsolute,          // sum_d |x_d - y_d|
  kWeightedAbsolute,  // sum_d w_d |x_d - y_d|
  kLargestAbsolute,   // max_d |x_d - y_d|
};

constexpr Pair PairOf(Metric metric) {
  return metric == Metric::kManhattan           ? Pair::kAbsolute
         : metric == Metric::kWeightedManhattan ? Pair::kWeightedAbsolute
         : metric == Metric::kChebyshev         ? Pair::kLargestAbsolute
                                                : Pair::kProduct;
}

// use(std::integral_constant<Pair, PairOf(metric)>()).
template <class Use>
void WithPair(Metric metric, const Use& use) {
  switch (PairOf(metric)) {
    case Pair::kProduct:
      return use(std::integral_constant<Pair, Pair::kProduct>());
    case Pair::kAbsolute:
      return use(std::integral_constant<Pair, Pair::kAbsolute>());
    case Pair::kWeightedAbsolute:
      return use(std::integral_constant<Pair, Pair::kWeightedAbsolute>());
    case Pair::kLargestAbsolute:
      return use(std::integral_constant<Pair, Pair::kLargestAbsolute>());
  }
}

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
constexpr bool IsProductMetric(Metric metric) { return PairOf(metric) == Pair::kProduct; }

}  // namespace fslcore
