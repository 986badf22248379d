// SPDX-License-Identifier: MIT
// The elements of the data set of episodes (tf_dataset.cc) as tensors.
#pragma once
#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bindings/tf_attributes.h"
#include "core/episodes/elements.h"
#include "core/images/images.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"

namespace tensorflow::fslcore_bindings {

using fslcore::Element;
using fslcore::ImageTable;

// The places of the inputs, in the order of the op's definition.
enum Input { kStore, kRows, kLabels, kSeed, kOtherSeed, kFirst, kStep, kCount, kInputs };

struct ElementAttributes {
  DataType type;  // of the store; TensorFlow's own enumeration, which is no visitor's business
  fslcore::ElementPlan plan;
  bool rotations, gathers;
  DataTypeVector output_types;
  std::vector<PartialTensorShape> output_shapes;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("form", plan.form);
    visit("least_way", plan.least_way);
    visit("n_way", plan.n_way);
    visit("least_shot", plan.least_shot);
    visit("parts", plan.parts);
    visit("tasks", plan.tasks);
    visit("steps", plan.steps);
    visit("batch", plan.batch);
    visit("rotations", rotations);
    visit("gathers", gathers);
    visit("output_types", output_types);
    visit("output_shapes", output_shapes);
  }
};

// All that elements are made of. It is shared with the threads that make them, which may outlive the data
// set.
class ElementMaker {
 public:
  // Element i begins with episode first + i * step * episodes of an element.
  ElementMaker(const ElementAttributes& attributes, std::vector<Tensor> inputs)
      : attributes_(attributes),
        inputs_(std::move(inputs)),
        classes_({inputs_[kLabels].flat<int64_t>().data(), inputs_[kLabels].NumElements()}) {
    plan().copies = attributes_.rotations ? 4 : 1;
    plan().seed = Number(kSeed);
    plan().other_seed = Number(kOtherSeed);
  }

  std::string Check() const;
  int64_t Number(Input input) const { return inputs_[input].scalar<int64_t>()(); }
  const ElementAttributes& attributes() const { return attributes_; }
  const std::vector<Tensor>& inputs() const { return inputs_; }

  // Bytes of an element, or of the largest where sizes vary.
  int64_t ElementBytes() const;
  absl::Status Make(Allocator* allocator, int64_t index, std::vector<Tensor>* element) const;

 private:
  fslcore::ElementPlan& plan() { return attributes_.plan; }
  const fslcore::ElementPlan& plan() const { return attributes_.plan; }
  const Tensor& store() const { return inputs_[kStore]; }
  fslcore::Images Images() const {
    return {static_cast<const uint8_t*>(store().data()), store().dim_size(0), store().dim_size(1),
            store().dim_size(2), store().dim_size(3)};
  }
  // Types and shapes of the tensors of an element.
  std::pair<DataTypeVector, std::vector<PartialTensorShape>> Outputs() const;
  absl::Status Gather(Allocator* allocator, const ImageTable& table, std::vector<Tensor>* element) const;
  absl::Status List(Allocator* allocator, ImageTable& table, std::vector<Tensor>* element) const;
  std::unique_ptr<fslcore::Drawer> TakeDrawer() const;

  ElementAttributes attributes_;
  const std::vector<Tensor> inputs_;
  const fslcore::Classes classes_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<fslcore::Drawer>> drawers_;  // that no thread uses
};

inline std::pair<DataTypeVector, std::vector<PartialTensorShape>> ElementMaker::Outputs() const {
  DataTypeVector types;
  std::vector<PartialTensorShape> shapes;
  const Element axes = AxesOf(plan());
  for (const ImageTable& table : axes.images) {
    fslcore::Sizes sizes = table.axes;
    if (attributes_.gathers)
      for (int axis = 1; axis < 4; ++axis) sizes.push_back(store().dim_size(axis));
    types.push_back(attributes_.gathers ? DT_FLOAT : DT_INT64);
    shapes.emplace_back(sizes);
    if (attributes_.gathers) continue;
    types.push_back(DT_INT64);
    shapes.emplace_back(table.turn_axes);
  }
  if (!axes.label_axes.empty()) {
    types.push_back(DT_INT32);
    shapes.emplace_back(axes.label_axes);
  }
  return {types, shapes};
}

inline std::string ElementMaker::Check() const {
  const auto refused = [](const char* name, const std::string& expected, const Tensor& tensor) {
    return absl::StrCat(name, " must ", expected, ", received shape ", tensor.shape().DebugString());
  };
  const Tensor& rows = inputs_[kRows];
  if (store().dims() != 4) return refused("store", "have 4 axes", store());
  if (attributes_.rotations && (attributes_.type != DT_UINT8 || store().dim_size(1) != store().dim_size(2)))
    return refused("store", "hold square images of uint8 to be turned", store());
  if (rows.dims() != 1 || (rows.NumElements() > 0 && rows.NumElements() != classes_.labels()))
    return refused("rows", "be empty or have a number for each label", rows);
  if (rows.NumElements() == 0 && attributes_.gathers && store().dim_size(0) != classes_.labels())
    return refused("store", "have an image for each label", store());
  for (int64_t i = 0; attributes_.gathers && i < rows.NumElements(); ++i)
    if (const int64_t row = rows.flat<int64_t>()(i); row < 0 || row >= store().dim_size(0))
      return absl::StrCat("rows must be in [0, ", store().dim_size(0), "), received ", row);
  std::string problem = fslcore::FirstOf(
      {CheckPlan(plan(), classes_), fslcore::CheckAtLeast("first", 0, Number(kFirst)),
       fslcore::CheckAtLeast("step", 1, Number(kStep)), fslcore::CheckAtLeast("count", -1, Number(kCount))});
  if (!problem.empty()) return problem;
  const Element axes = AxesOf(plan());
  for (size_t part = 0; part < axes.images.size(); ++part) {
    const int64_t images = plan().form == fslcore::ElementForm::kMinibatches
                               ? plan().steps * plan().batch
                               : plan().n_way * plan().parts[part];
    problem = fslcore::CheckElements("an element", {plan().episodes(), images, store().dim_size(1),
                                                    store().dim_size(2), store().dim_size(3)});
    if (!problem.empty()) return problem;
  }
  const auto [types, shapes] = Outputs();
  bool same = types == attributes_.output_types && shapes.size() == attributes_.output_shapes.size();
  for (size_t i = 0; same && i < shapes.size(); ++i)
    same = shapes[i].IsIdenticalTo(attributes_.output_shapes[i]);
  return same ? ""
              : absl::StrCat("output_shapes and output_types must be those of the elements, ",
                             PartialTensorShapeUtils::PartialShapeListString(shapes), " of ",
                             DataTypeVectorString(types), ", received ",
                             PartialTensorShapeUtils::PartialShapeListString(attributes_.output_shapes),
                             " of ", DataTypeVectorString(attributes_.output_types));
}

inline int64_t ElementMaker::ElementBytes() const {
  int64_t images = plan().episodes() * plan().n_way * plan().samples();
  if (plan().form == fslcore::ElementForm::kMinibatches)
    images = plan().episodes() * plan().steps * plan().batch;
  return images * 4 * (attributes_.gathers ? Images().pixels() : 4);
}

inline std::unique_ptr<fslcore::Drawer> ElementMaker::TakeDrawer() const {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!drawers_.empty()) {
      std::unique_ptr<fslcore::Drawer> drawer = std::move(drawers_.back());
      drawers_.pop_back();
      return drawer;
    }
  }
  return std::make_unique<fslcore::Drawer>(classes_, plan().copies);
}

inline absl::Status Allocated(Allocator* allocator, DataType type, const fslcore::Sizes& sizes,
                              std::vector<Tensor>* element) {
  TensorShape shape;
  TF_RETURN_IF_ERROR(TensorShape::BuildTensorShape(sizes, &shape));
  element->emplace_back(allocator, type, shape);
  if (element->back().IsInitialized()) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("there is no memory left for a tensor of shape ", shape.DebugString()));
}

inline absl::Status ElementMaker::Make(Allocator* allocator, int64_t index,
                                       std::vector<Tensor>* element) const {
  const auto step = static_cast<uint64_t>(Number(kStep)) * static_cast<uint64_t>(plan().episodes());
  const uint64_t episode = static_cast<uint64_t>(Number(kFirst)) + static_cast<uint64_t>(index) * step;
  std::unique_ptr<fslcore::Drawer> drawer = TakeDrawer();
  Element drawn = MakeElement(plan(), classes_.count(), static_cast<int64_t>(episode), *drawer);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    drawers_.push_back(std::move(drawer));
  }
  const Tensor& rows = inputs_[kRows];
  for (ImageTable& table : drawn.images) {
    if (rows.NumElements() > 0)
      for (int64_t& row : table.rows) row = rows.flat<int64_t>()(row);
    TF_RETURN_IF_ERROR(attributes_.gathers ? Gather(allocator, table, element)
                                           : List(allocator, table, element));
  }
  if (drawn.label_axes.empty()) return absl::OkStatus();
  TF_RETURN_IF_ERROR(Allocated(allocator, DT_INT32, drawn.label_axes, element));
  std::copy(drawn.labels.begin(), drawn.labels.end(), element->back().flat<int32_t>().data());
  return absl::OkStatus();
}

// The images themselves.
inline absl::Status ElementMaker::Gather(Allocator* allocator, const ImageTable& table,
                                         std::vector<Tensor>* element) const {
  fslcore::Sizes sizes = table.axes;
  for (int axis = 1; axis < 4; ++axis) sizes.push_back(store().dim_size(axis));
  TF_RETURN_IF_ERROR(Allocated(allocator, DT_FLOAT, sizes, element));
  auto* out = static_cast<float*>(element->back().data());
  const auto images = static_cast<int64_t>(table.rows.size());
  if (attributes_.type == DT_UINT8) {
    const fslcore::ImageChange change = {0, 0, static_cast<float>(1.0 / 255.0), 0.0f};
    fslcore::GatherImages(fslcore::Executor(), Images(), {table.rows.data(), images},
                          {table.turns.data(), static_cast<int64_t>(table.turns.size())}, change, out);
    return absl::OkStatus();
  }
  const int64_t size = Images().pixels();
  const auto* in = static_cast<const float*>(store().data());
  for (int64_t i = 0; i < images && size > 0; ++i, out += size)
    std::memcpy(out, in + table.rows[static_cast<size_t>(i)] * size, sizeof(float) * size);
  return absl::OkStatus();
}

// Where the images are, for stores that TensorFlow reads: rows and quarter turns.
inline absl::Status ElementMaker::List(Allocator* allocator, ImageTable& table,
                                       std::vector<Tensor>* element) const {
  table.turns.resize(static_cast<size_t>(fslcore::ElementsOf(table.turn_axes)));  // zeros without rotations
  for (const auto& [axes, values] : {std::pair(&table.axes, &table.rows), {&table.turn_axes, &table.turns}}) {
    TF_RETURN_IF_ERROR(Allocated(allocator, DT_INT64, *axes, element));
    std::copy(values->begin(), values->end(), element->back().flat<int64_t>().data());
  }
  return absl::OkStatus();
}

}  // namespace tensorflow::fslcore_bindings
