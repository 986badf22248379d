// SPDX-License-Identifier: MIT
// The sizes of an array's axes, and the sentence that says they are wrong.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace fslcore {

using Sizes = std::vector<int64_t>;

// As Python writes a list: "[2, 3]".
inline std::string ShapeText(const Sizes& sizes) {
  std::string text = "[";
  for (size_t i = 0; i < sizes.size(); ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

// Nothing if they are equal.
inline std::string CheckSizes(const std::string& name, const Sizes& received, const Sizes& expected) {
  if (received == expected) return "";
  return name + " must have shape " + ShapeText(expected) + ", received shape " + ShapeText(received);
}

}  // namespace fslcore
