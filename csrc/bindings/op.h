// SPDX-License-Identifier: MIT
// How an op is described, once for all front ends: TensorFlow, its XLA, the XLA FFI (which JAX calls) and
// NumPy. An op is a struct that derives from Op and has
//
//   Attributes                        a struct whose Visit names each attribute once
//   kInputs, kOutputs                 names, types and ranks
//   Check(attributes, inputs)         an error message about sizes, or an empty one
//   OutputShapes(attributes, inputs)  of inputs that pass the check, or that are known in part
//   Run(attributes, CpuCall)          computes the outputs; returns an error message about values, or ""
//   Run(attributes, GpuCall) and Workspace(attributes, call), if it has a kernel for GPUs
//
// Front ends do the rest: they read the attributes, call Check, allocate or check the outputs, run.
#pragma once
#include <cstdint>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/arrays/sizes.h"
#include "core/arrays/views.h"
#include "core/threads/parallel.h"
#include "cuda/stream.h"

namespace fslcore::bindings {

// ---- attributes ------------------------------------------------------------------------------------------

// The name of an attribute and what TensorFlow should know of it beside the type. An optional attribute that
// is not given keeps the value that its member was initialised with.
struct Key {
  const char* name;
  bool optional = false;
  int64_t least = INT64_MIN;

  Key(const char* text) : name(text) {}  // NOLINT: visit("metric", metric)
};

inline Key Optional(Key key) {
  key.optional = true;
  return key;
}

inline Key AtLeast(int64_t least, Key key) {
  key.least = least;
  return key;
}

// The value of an enumeration by its name, or an error message.
template <class Enum>
std::string ReadName(const char* attribute, std::string_view name, Enum* value) {
  const auto& names = NamesOf(Enum());
  std::string known;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) {
      *value = static_cast<Enum>(i);
      return "";
    }
    known += (i ? ", " : "") + std::string(names[i]);
  }
  return std::string(attribute) + " must be one of " + known + ", received '" + std::string(name) + "'";
}

template <class Enum>
std::string NameOf(Enum value) {
  return std::string(NamesOf(value)[static_cast<size_t>(value)]);
}

// ---- arguments -------------------------------------------------------------------------------------------

enum class Type { kFloat32, kInt32, kInt64, kUint8 };

inline constexpr int kAnyRank = -1;

struct Argument {
  const char* name;
  Type type;
  int rank;
  const char* list = nullptr;  // the attribute that counts the tensors, for a list of them
};

// The argument at a position among all tensors. What follows a list is of its type.
template <size_t n>
const Argument& ArgumentAt(const Argument (&arguments)[n], size_t position) {
  for (size_t i = 0; i < n; ++i)
    if (arguments[i].list != nullptr || i == position) return arguments[i];
  return arguments[n - 1];
}

// Messages name the tensor of a list by its position.
template <size_t n>
std::string NameAt(const Argument (&arguments)[n], size_t position) {
  const Argument& argument = ArgumentAt(arguments, position);
  return argument.list == nullptr ? argument.name : "tensor " + std::to_string(position);
}

using Shapes = std::vector<Sizes>;

// A size that is not known, in OutputShapes. Any negative size is unknown, and OutputShapes copies it, so
// that front ends recognise the axis.
inline constexpr int64_t kUnknown = -1;

// A size that an attribute sets: a graph may hold one that Check will refuse.
inline int64_t Known(int64_t size) { return size < 0 ? kUnknown : size; }

// One call of an op: all tensors in order.
struct Call {
  Shapes input_shapes, output_shapes;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;

  template <class T>
  const T* in(size_t i) const {
    return static_cast<const T*>(inputs[i]);
  }
  template <class T>
  T* out(size_t i) const {
    return static_cast<T*>(outputs[i]);
  }
  Matrix<const float> matrix(size_t i) const {
    return {in<float>(i), input_shapes[i][0], input_shapes[i][1]};
  }
  template <class T>
  Vector<const T> vector(size_t i) const {
    return {in<T>(i), ElementsOf(input_shapes[i])};
  }
  bool input_is_empty(size_t i) const { return ElementsOf(input_shapes[i]) == 0; }
  bool output_is_empty(size_t i) const { return ElementsOf(output_shapes[i]) == 0; }
};

struct CpuCall : Call {
  Executor executor;
  int64_t rows = 0;  // of an op with kRows: how many are real
};

// All pointers are to memory of the device.
struct GpuCall : Call {
  cuda::Stream stream = nullptr;
  void* workspace = nullptr;
  const int32_t* rows = nullptr;  // of an op with kRows: how many are real, or null for all
  int32_t* written = nullptr;     // of an op that counts: gets how many rows it writes, if not null
};

// ---- ops -------------------------------------------------------------------------------------------------

// What most ops do not have.
struct Op {
  // The input whose first axis is a batch. Inside XLA a batch may be padded; handlers of such an op take one
  // more input behind all others, an int32 scalar: the number of rows that are real.
  static constexpr int kRows = -1;

  // Whether the first axis of all outputs depends on the values: Count(attributes, call) tells, OutputShapes
  // gives an upper bound. Handlers of such an op write zeros up to that bound, and have one more result, an
  // int32 scalar: the count.
  static constexpr bool kCounts = false;

  // Why XLA cannot take an input with a dynamic axis, or null.
  static const char* RefuseDynamic(size_t /*axis*/) { return nullptr; }

  // The input whose shape this one must have; itself if it may have its own.
  static size_t ShapeOf(size_t input, size_t /*inputs*/) { return input; }

  // The inputs whose memory an output may take.
  static std::vector<int> Forwardable(size_t /*output*/, size_t /*inputs*/) { return {}; }
};

// That the product of all sizes but those that are 0 or unknown is below 2^58: products of some of them fit
// 64 bits, also where an array has no elements.
template <size_t n>
std::string CheckProduct(const Argument (&arguments)[n], size_t position, const Sizes& sizes) {
  int64_t product = 1;
  bool fits = true, empty = false;
  for (int64_t size : sizes) {
    if (size > 0) fits &= !__builtin_mul_overflow(product, size, &product) && product < int64_t{1} << 58;
    empty |= size <= 0;
  }
  if (fits) return "";
  return NameAt(arguments, position) + " must have fewer than 2^58 elements" +
         (empty ? ", empty axes aside" : "") + ", received shape " + ShapeText(sizes);
}

template <class O>
std::string CheckInputs(const Shapes& inputs) {
  std::string problem;
  for (size_t i = 0; i < inputs.size() && problem.empty(); ++i)
    problem = CheckProduct(O::kInputs, i, inputs[i]);
  return problem;
}

// Inside XLA, the sizes of dynamic axes are int32.
template <class O>
std::string CheckInXla(const Shapes& inputs, const Shapes& outputs) {
  if (O::kRows >= 0 && inputs[O::kRows][0] > kMostPositions)
    return NameAt(O::kInputs, O::kRows) + " must have fewer than 2^31 rows inside XLA, received shape " +
           ShapeText(inputs[O::kRows]);
  if (O::kCounts && outputs[0][0] > kMostPositions)
    return "inside XLA the op has room for fewer than 2^31 results, but may have " +
           std::to_string(outputs[0][0]) + "; call it outside XLA or with a smaller batch";
  return "";
}

// All that sizes tell, for every front end: checks the inputs, then finds the shapes of the outputs. Returns
// an error message, empty if all is well.
template <class O>
std::string CheckCall(const typename O::Attributes& attributes, const Shapes& inputs, Shapes* outputs) {
  std::string problem = CheckInputs<O>(inputs);
  if (problem.empty()) problem = O::Check(attributes, inputs);
  if (!problem.empty()) return problem;
  *outputs = O::OutputShapes(attributes, inputs);
  for (size_t i = 0; i < outputs->size() && problem.empty(); ++i)
    problem = CheckProduct(O::kOutputs, i, (*outputs)[i]);
  return problem;
}

// ---- exceptions ------------------------------------------------------------------------------------------

// What the core throws, in words. Front ends in which an exception may not travel return it as their own
// error; `exhausted` tells whether memory was lacking.
template <class Body, class Failed>
auto Caught(const Body& body, const Failed& failed) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return failed(/*exhausted=*/true, "there is no memory left for what the op computes");
  } catch (const std::length_error&) {  // a vector with more elements than any memory holds
    return failed(/*exhausted=*/true, "there is no memory left for what the op computes");
  } catch (const std::exception& error) {
    return failed(/*exhausted=*/false, error.what());
  }
}

}  // namespace fslcore::bindings
