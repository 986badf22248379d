// SPDX-License-Identifier: MIT
// A step of Adam, and whole inner loops. On CPUs only.
#pragma once
#include <string>
#include <vector>

#include "bindings/op.h"
#include "core/fitting/adam_step.h"
#include "core/fitting/fit_classifiers.h"

namespace fslcore::bindings {

struct AdamStepAttributes {
  int64_t count;  // of the weights
  AdamSettings settings;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit(AtLeast(1, "N"), count);
    visit("learning_rate", settings.learning_rate);
    visit("beta_2", settings.beta_2);
    visit("one_minus_beta_2", settings.one_minus_beta_2);
    visit("epsilon", settings.epsilon);
  }
};

struct AdamStep : Op {
  using Attributes = AdamStepAttributes;
  static constexpr Argument kInputs[] = {{"weights", Type::kFloat32, kAnyRank, "N"},
                                         {"gradients", Type::kFloat32, kAnyRank, "N"},
                                         {"squares", Type::kFloat32, kAnyRank, "N"},
                                         {"power", Type::kFloat32, 0}};
  static constexpr Argument kOutputs[] = {{"new_weights", Type::kFloat32, kAnyRank, "N"},
                                          {"new_squares", Type::kFloat32, kAnyRank, "N"},
                                          {"new_power", Type::kFloat32, 0}};

  static std::string Check(const Attributes&, const Shapes& in) { return CheckAdamStep(in); }
  static Shapes OutputShapes(const Attributes&, const Shapes& in) {
    const auto count = static_cast<std::ptrdiff_t>(in.size() / 3);
    Shapes out(in.begin(), in.begin() + count);
    out.insert(out.end(), in.begin(), in.begin() + count);
    out.push_back(in.back());
    return out;
  }
  static size_t ShapeOf(size_t input, size_t inputs) {
    const size_t count = inputs / 3;
    return input < 3 * count ? input % count : input;
  }
  static std::vector<int> Forwardable(size_t output, size_t inputs) {
    const int count = static_cast<int>(inputs / 3), i = static_cast<int>(output);
    if (i < count) return {i, count + i};
    if (i < 2 * count) return {count + i};
    return {};
  }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    const size_t count = call.inputs.size() / 3;
    std::vector<AdamTensor> tensors;
    for (size_t i = 0; i < count; ++i)
      tensors.push_back({ElementsOf(call.input_shapes[i]), call.in<float>(i), call.in<float>(count + i),
                         call.in<float>(2 * count + i), call.out<float>(i), call.out<float>(count + i)});
    *call.out<float>(2 * count) = fslcore::AdamStep(a.settings, tensors, *call.in<float>(3 * count));
    return "";
  }
};

struct FitClassifiersAttributes {
  int64_t weights, averages, memory;  // how many there are
  std::vector<int64_t> strides, pool_sizes;
  std::vector<float> epsilons;
  std::vector<Precision> precisions;
  std::vector<float> momenta;
  float learning_rate;
  bool adam;
  float beta_2 = 0.0f, one_minus_beta_2 = 1.0f, epsilon = 0.0f;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit(AtLeast(1, "N"), weights);
    visit(AtLeast(1, "M"), averages);
    visit(AtLeast(0, "K"), memory);
    visit("strides", strides);
    visit("pool_sizes", pool_sizes);
    visit("epsilons", epsilons);
    visit("precisions", precisions, kConvPrecisions);
    visit("momenta", momenta);
    visit("learning_rate", learning_rate);
    visit("adam", adam);
    visit(Optional("beta_2"), beta_2);
    visit(Optional("one_minus_beta_2"), one_minus_beta_2);
    visit(Optional("adam_epsilon"), epsilon);
  }

  FitOptions options() const {
    FitOptions options = {{}, momenta, learning_rate, {}};
    for (size_t b = 0; b < strides.size(); ++b)
      options.blocks.push_back({strides[b], pool_sizes[b], epsilons[b], precisions[b]});
    if (adam) options.adam = {learning_rate, beta_2, one_minus_beta_2, epsilon};
    return options;
  }
};

struct FitClassifiers : Op {
  using Attributes = FitClassifiersAttributes;
  static constexpr Argument kInputs[] = {{"images", Type::kFloat32, 5},
                                         {"labels", Type::kInt32, 2},
                                         {"order", Type::kInt32, 3},
                                         {"weights", Type::kFloat32, kAnyRank, "N"},
                                         {"averages", Type::kFloat32, kAnyRank, "M"},
                                         {"memory", Type::kFloat32, kAnyRank, "K"}};
  static constexpr Argument kOutputs[] = {{"new_weights", Type::kFloat32, kAnyRank, "N"},
                                          {"new_averages", Type::kFloat32, kAnyRank, "M"},
                                          {"new_memory", Type::kFloat32, kAnyRank, "K"},
                                          {"losses", Type::kFloat32, 2},
                                          {"logits", Type::kFloat32, 3}};
  static constexpr size_t kFirst = 3;  // of the tensors that all tasks start from

  static std::string Check(const Attributes& a, const Shapes& in) {
    const size_t blocks = a.strides.size();
    if (a.pool_sizes.size() != blocks || a.epsilons.size() != blocks || a.precisions.size() != blocks)
      return "strides, pool_sizes, epsilons and precisions must be equally many";
    const auto weights = in.begin() + kFirst, averages = weights + a.weights, memory = averages + a.averages;
    return CheckFitClassifiers(a.options(), in[0], in[1], in[2], {weights, averages}, {averages, memory},
                               {memory, in.end()});
  }

  // What each task makes of what all start from: the same shapes, behind an axis of the tasks.
  static Shapes OutputShapes(const Attributes& a, const Shapes& in) {
    const Sizes &order = in[2], &bias = in[kFirst + static_cast<size_t>(a.weights) - 1];
    Shapes out(in.begin() + kFirst, in.end());
    for (Sizes& sizes : out) sizes.insert(sizes.begin(), in[0][0]);
    out.push_back({order[0], order[1]});
    out.push_back({order[0], order[2], bias.empty() ? kUnknown : bias[0]});
    return out;
  }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    const FitTasks tasks = {call.input_shapes[0], call.input_shapes[2], call.in<float>(0),
                            call.in<int32_t>(1), call.in<int32_t>(2)};
    const auto weights = static_cast<size_t>(a.weights), averages = static_cast<size_t>(a.averages),
               memory = static_cast<size_t>(a.memory), squares = memory - (a.adam ? 1 : 0);
    FitStart start = {
        Shapes(call.input_shapes.begin() + kFirst, call.input_shapes.begin() + kFirst + a.weights),
        From(call.inputs, kFirst, weights), From(call.inputs, kFirst + weights, averages),
        From(call.inputs, kFirst + weights + averages, squares), 1.0f};
    if (a.adam) start.power = *call.in<float>(kFirst + weights + averages + squares);
    const std::string problem = CheckFitIndices(tasks, start.weight_sizes.back()[0]);
    if (!problem.empty()) return problem;

    const size_t rest = weights + averages + memory;
    fslcore::FitClassifiers(
        call.executor, a.options(), tasks, start,
        {From(call.outputs, 0, weights), From(call.outputs, weights, averages),
         From(call.outputs, weights + averages, squares), a.adam ? call.out<float>(rest - 1) : nullptr,
         call.out<float>(rest), call.out<float>(rest + 1)});
    return "";
  }

 private:
  static std::vector<const float*> From(const std::vector<const void*>& data, size_t first, size_t count) {
    std::vector<const float*> floats;
    for (size_t i = first; i < first + count; ++i) floats.push_back(static_cast<const float*>(data[i]));
    return floats;
  }
  static std::vector<float*> From(const std::vector<void*>& data, size_t first, size_t count) {
    std::vector<float*> floats;
    for (size_t i = first; i < first + count; ++i) floats.push_back(static_cast<float*>(data[i]));
    return floats;
  }
};

}  // namespace fslcore::bindings
