// SPDX-License-Identifier: MIT
// The names of what pair_terms.h enumerates, the same in C++, in the TensorFlow ops and in Python.
#pragma once
#include <array>
#include <string_view>

#include "core/reductions/pair_terms.h"

namespace fslcore {

inline constexpr std::array<std::string_view, 3> kPairGroupNames = {"positive", "negative", "all"};
inline constexpr std::array<std::string_view, 6> kPairFunctionNames = {"linear",   "hinge",  "squared_hinge",
                                                                       "softplus", "circle", "lifted"};
inline constexpr std::array<std::string_view, 5> kPairReductionNames = {"none", "sum", "logsumexp", "max",
                                                                        "min"};
inline constexpr const auto& NamesOf(PairGroup) { return kPairGroupNames; }
inline constexpr const auto& NamesOf(PairFunction) { return kPairFunctionNames; }
inline constexpr const auto& NamesOf(PairReduction) { return kPairReductionNames; }

inline constexpr std::array<std::string_view, 3> kPairRowsNames = {"batch", "apart", "leading"};
inline constexpr const auto& NamesOf(PairRows) { return kPairRowsNames; }

}  // namespace fslcore
