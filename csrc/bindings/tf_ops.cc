// SPDX-License-Identifier: MIT
// The ops as TensorFlow knows them: names, attributes and shape functions. Their public face, with gradients
// and documentation, is fslcore/ops.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bindings/ops.h"
#include "bindings/tf_attributes.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tensorflow::fslcore_bindings {
namespace {

namespace bindings = fslcore::bindings;
using shape_inference::DimensionHandle;
using shape_inference::InferenceContext;
using shape_inference::ShapeHandle;

// ---- definitions -----------------------------------------------------------------------------------------

// In the order of bindings::Type.
constexpr const char* kTypeNames[] = {"float", "int32", "int64", "uint8"};

// "x: float", or "weights: N * float".
std::string Text(const bindings::Argument& argument) {
  const std::string list = argument.list == nullptr ? "" : absl::StrCat(argument.list, " * ");
  return absl::StrCat(argument.name, ": ", list, kTypeNames[static_cast<size_t>(argument.type)]);
}

const char* TextOf(int64_t) { return "int"; }
const char* TextOf(float) { return "float"; }
const char* TextOf(bool) { return "bool"; }

// "{'none', 'sigmoid'}"; of all values, or of those that are allowed.
template <class Enum, class... Allowed>
std::string TextOf(Enum, const Allowed&... allowed) {
  std::vector<std::string> names;
  if constexpr (sizeof...(allowed) == 0)
    for (std::string_view name : NamesOf(Enum())) names.push_back(absl::StrCat("'", name, "'"));
  else
    for (Enum value : (allowed, ...)) names.push_back(absl::StrCat("'", bindings::NameOf(value), "'"));
  return absl::StrCat("{", absl::StrJoin(names, ", "), "}");
}

template <class T>
std::string DefaultText(T value) {
  if constexpr (std::is_enum_v<T>)
    return absl::StrCat("'", bindings::NameOf(value), "'");
  else
    return absl::StrCat(value);
}

// Declares the attributes.
struct Declare {
  register_op::OpDefBuilderWrapper& builder;

  template <class T, class... Allowed>
  void operator()(bindings::Key key, T& value, const Allowed&... allowed) {
    std::string text = absl::StrCat(key.name, ": ");
    if constexpr (kIsVector<T>)
      absl::StrAppend(&text, "list(", TextOf(typename T::value_type(), allowed...), ")");
    else
      absl::StrAppend(&text, TextOf(T(), allowed...));
    if (key.least != INT64_MIN) absl::StrAppend(&text, " >= ", key.least);
    if constexpr (!kIsVector<T>)
      if (key.optional) absl::StrAppend(&text, " = ", DefaultText(value));
    builder.Attr(text);
  }
};

// ---- shape functions -------------------------------------------------------------------------------------

// Unknown sizes, each with a negative number of its own, so that it is recognised where an output has it.
class Unknowns {
 public:
  int64_t NumberOf(DimensionHandle size) {
    sizes_.push_back(size);
    return bindings::kUnknown - static_cast<int64_t>(sizes_.size());
  }
  DimensionHandle SizeOf(InferenceContext* c, int64_t number) const {
    if (number >= 0) return c->MakeDim(number);
    if (number == bindings::kUnknown) return c->UnknownDim();
    const auto place = static_cast<size_t>(bindings::kUnknown - number - 1);
    return place < sizes_.size() ? sizes_[place] : c->UnknownDim();
  }

 private:
  std::vector<DimensionHandle> sizes_;
};

template <class O>
absl::Status InferShapes(InferenceContext* c) {
  typename O::Attributes attributes;
  TF_RETURN_IF_ERROR(ReadAttributes(c, &attributes));
  const auto count = static_cast<size_t>(c->num_inputs());
  std::vector<ShapeHandle> shapes(count);
  for (size_t i = 0; i < count; ++i) {
    shapes[i] = c->input(static_cast<int>(i));
    const int rank = bindings::ArgumentAt(O::kInputs, i).rank;
    if (rank != bindings::kAnyRank) TF_RETURN_IF_ERROR(c->WithRank(shapes[i], rank, &shapes[i]));
    // What is known of one input is known of all that must have its shape.
    ShapeHandle& shared = shapes[O::ShapeOf(i, count)];
    TF_RETURN_IF_ERROR(c->Merge(shared, shapes[i], &shared));
  }
  Unknowns unknowns;
  bindings::Shapes inputs;
  for (size_t i = 0; i < count; ++i) {
    const ShapeHandle shape = shapes[O::ShapeOf(i, count)];
    if (!c->RankKnown(shape)) return shape_inference::UnknownShape(c);
    fslcore::Sizes sizes;
    for (int axis = 0; axis < c->Rank(shape); ++axis) {
      const DimensionHandle size = c->Dim(shape, axis);
      sizes.push_back(c->ValueKnown(size) ? c->Value(size) : unknowns.NumberOf(size));
    }
    inputs.push_back(sizes);
  }
  TF_RETURN_IF_ERROR(Invalid(bindings::CheckInputs<O>(inputs)));
  const bindings::Shapes outputs = O::OutputShapes(attributes, inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::vector<DimensionHandle> sizes;
    fslcore::Sizes known;
    for (int64_t size : outputs[i]) {
      sizes.push_back(unknowns.SizeOf(c, size));
      if (size >= 0) known.push_back(size);
    }
    if (O::kCounts) sizes[0] = c->UnknownDim();
    TF_RETURN_IF_ERROR(Invalid(bindings::CheckProduct(O::kOutputs, i, known)));
    c->set_output(static_cast<int>(i), c->MakeShape(sizes));
  }
  return absl::OkStatus();
}

template <class O>
bool Define(const char* name) {
  register_op::OpDefBuilderWrapper builder(name);
  for (const bindings::Argument& input : O::kInputs) builder.Input(Text(input));
  typename O::Attributes attributes;
  Declare declare = {builder};
  attributes.Visit(declare);
  for (const bindings::Argument& output : O::kOutputs) builder.Output(Text(output));
  builder.SetShapeFn(InferShapes<O>)();
  return true;
}

#define FSLCORE_DEFINE(Op, function) \
  [[maybe_unused]] const bool kDefined##Op = Define<bindings::Op>("Fslcore" #Op);
FSLCORE_TENSORFLOW_OPS(FSLCORE_DEFINE)
#undef FSLCORE_DEFINE

}  // namespace
}  // namespace tensorflow::fslcore_bindings
