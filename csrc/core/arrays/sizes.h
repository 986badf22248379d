// SPDX-License-Identifier: MIT
// The sizes of an array's axes, and their checks. A check returns an error message, empty if all is well.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

namespace fslcore {

using Sizes = std::vector<int64_t>;

// Positions in an array are int32 wherever labels, images and their order are concerned.
inline constexpr int64_t kMostPositions = std::numeric_limits<int32_t>::max();

// As Python writes a list: "[2, 3]".
inline std::string ShapeText(const Sizes& sizes) {
  std::string text = "[";
  for (size_t i = 0; i < sizes.size(); ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

inline int64_t ElementsOf(const Sizes& sizes) {
  int64_t elements = 1;
  for (int64_t size : sizes) elements *= size;
  return elements;
}

// The first of the error messages that is not empty.
inline std::string FirstOf(std::initializer_list<std::string> problems) {
  for (const std::string& problem : problems)
    if (!problem.empty()) return problem;
  return "";
}

inline std::string CheckSizes(const std::string& name, const Sizes& received, const Sizes& expected) {
  if (received == expected) return "";
  return name + " must have shape " + ShapeText(expected) + ", received shape " + ShapeText(received);
}

inline std::string CheckAxes(const std::string& name, const Sizes& received, size_t axes) {
  if (received.size() == axes) return "";
  return name + " must have " + std::to_string(axes) + (axes == 1 ? " axis" : " axes") + ", received shape " +
         ShapeText(received);
}

inline std::string CheckAtLeast(const std::string& name, int64_t least, int64_t received) {
  if (received >= least) return "";
  return name + " must be at least " + std::to_string(least) + ", received " + std::to_string(received);
}

// Arrays have fewer than 2^58 elements, so that their bytes can be counted in 64 bits.
inline std::string CheckElements(const std::string& name, const Sizes& sizes) {
  int64_t elements = 1;
  for (int64_t size : sizes)
    if (size == 0) return "";
  for (int64_t size : sizes)
    if (size < 0 || __builtin_mul_overflow(elements, size, &elements) || elements >= int64_t{1} << 58)
      return name + " must have fewer than 2^58 elements, received shape " + ShapeText(sizes);
  return "";
}

}  // namespace fslcore
