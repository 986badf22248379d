// SPDX-License-Identifier: MIT
// The fused gather of images.
#pragma once
#include "bindings/op.h"
#include "core/images/images.h"
#include "cuda/images/images.h"

namespace fslcore::bindings {

struct GatherImagesAttributes {
  ImageChange change;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("height", change.height);
    visit("width", change.width);
    visit("scale", change.scale);
    visit("shift", change.shift);
  }
};

struct GatherImages : Op {
  using Attributes = GatherImagesAttributes;
  static constexpr Argument kInputs[] = {
      {"store", Type::kUint8, 4}, {"indices", Type::kInt64, kAnyRank}, {"rotations", Type::kInt64, kAnyRank}};
  static constexpr Argument kOutputs[] = {{"images", Type::kFloat32, kAnyRank}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckGatherSizes(in[0], in[1], in[2], a.change);
  }
  static Shapes OutputShapes(const Attributes& a, const Shapes& in) {
    const Sizes& store = in[0];
    Sizes images = in[1];
    const bool resizes = a.change.resizes();
    images.insert(images.end(), {resizes ? Known(a.change.height) : store[1],
                                 resizes ? Known(a.change.width) : store[2], store[3]});
    return {images};
  }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    const auto indices = call.vector<int64_t>(1), turns = call.vector<int64_t>(2);
    const std::string problem = CheckGather(StoreOf(call), indices, turns, a.change);
    if (problem.empty())
      fslcore::GatherImages(call.executor, StoreOf(call), indices, turns, a.change, call.out<float>(0));
    return problem;
  }

  static int64_t Workspace(const Attributes&, const Call&) { return 0; }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::GatherImages(call.stream, StoreOf(call), call.vector<int64_t>(1), call.vector<int64_t>(2),
                              a.change, call.out<float>(0));
  }

 private:
  static Images StoreOf(const Call& call) {
    const Sizes& sizes = call.input_shapes[0];
    return {call.in<uint8_t>(0), sizes[0], sizes[1], sizes[2], sizes[3]};
  }
};

}  // namespace fslcore::bindings
