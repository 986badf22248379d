// SPDX-License-Identifier: MIT
// Affine warps: of images, of images gathered from a store, and their transforms drawn at random.
#pragma once
#include "bindings/op.h"
#include "core/images/transforms.h"
#include "core/images/warp.h"
#include "cuda/images/transforms.h"
#include "cuda/images/warp.h"

namespace fslcore::bindings {

struct AffineImagesAttributes {
  Warp warp;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("height", warp.height);
    visit("width", warp.width);
    visit("fill", warp.fill);
    visit("fill_value", warp.fill_value);
  }
};

inline Sizes ImageAxes(const Warp& warp, const Sizes& images, Sizes leading) {
  const bool resizes = warp.resizes();
  leading.insert(leading.end(), {resizes ? Known(warp.height) : images[1],
                                 resizes ? Known(warp.width) : images[2], images[3]});
  return leading;
}

struct AffineImages : Op {
  using Attributes = AffineImagesAttributes;
  static constexpr Argument kInputs[] = {{"images", Type::kFloat32, 4}, {"transforms", Type::kFloat32, 2}};
  static constexpr Argument kOutputs[] = {{"warped", Type::kFloat32, 4}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckWarpSizes("images", in[0], {in[0][0]}, in[1], a.warp);
  }
  static Shapes OutputShapes(const Attributes& a, const Shapes& in) {
    return {ImageAxes(a.warp, in[0], {in[0][0]})};
  }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    const std::string problem = CheckTransforms(call.vector<float>(1));
    if (problem.empty())
      WarpImages(call.executor, ImagesOf(call), call.in<float>(1), a.warp, call.out<float>(0));
    return problem;
  }

  static int64_t Workspace(const Attributes&, const Call&) { return 0; }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::WarpImages(call.stream, ImagesOf(call), call.in<float>(1), a.warp, call.out<float>(0));
  }

 private:
  static FloatImages ImagesOf(const Call& call) {
    const Sizes& sizes = call.input_shapes[0];
    return {call.in<float>(0), sizes[0], sizes[1], sizes[2], sizes[3]};
  }
};

struct GatherAffineAttributes {
  Warp warp;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("height", warp.height);
    visit("width", warp.width);
    visit("fill", warp.fill);
    visit("fill_value", warp.fill_value);
    visit("scale", warp.scale);
    visit("shift", warp.shift);
  }
};

struct GatherAffine : Op {
  using Attributes = GatherAffineAttributes;
  static constexpr Argument kInputs[] = {{"store", Type::kUint8, 4},
                                         {"indices", Type::kInt64, kAnyRank},
                                         {"rotations", Type::kInt64, kAnyRank},
                                         {"transforms", Type::kFloat32, kAnyRank}};
  static constexpr Argument kOutputs[] = {{"images", Type::kFloat32, kAnyRank}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    return FirstOf({CheckGatherSizes(in[0], in[1], in[2], a.warp),
                    CheckWarpSizes("store", in[0], in[1], in[3], a.warp)});
  }
  static Shapes OutputShapes(const Attributes& a, const Shapes& in) {
    return {ImageAxes(a.warp, in[0], in[1])};
  }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    const auto indices = call.vector<int64_t>(1), turns = call.vector<int64_t>(2);
    const std::string problem =
        FirstOf({CheckGather(StoreOf(call), indices, turns, a.warp), CheckTransforms(call.vector<float>(3))});
    if (problem.empty())
      GatherWarped(call.executor, StoreOf(call), indices, turns, call.in<float>(3), a.warp,
                   call.out<float>(0));
    return problem;
  }

  static int64_t Workspace(const Attributes&, const Call&) { return 0; }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::GatherWarped(call.stream, StoreOf(call), call.vector<int64_t>(1), call.vector<int64_t>(2),
                              call.in<float>(3), a.warp, call.out<float>(0));
  }

 private:
  static Images StoreOf(const Call& call) {
    const Sizes& sizes = call.input_shapes[0];
    return {call.in<uint8_t>(0), sizes[0], sizes[1], sizes[2], sizes[3]};
  }
};

struct AffineTransformsAttributes {
  template <class Visitor>
  void Visit(Visitor&) {}
};

struct AffineTransforms : Op {
  using Attributes = AffineTransformsAttributes;
  static constexpr Argument kInputs[] = {{"distributions", Type::kFloat32, 2},
                                         {"sizes", Type::kInt64, 1},
                                         {"numbers", Type::kInt64, kAnyRank},
                                         {"seed", Type::kInt64, 0},
                                         {"step", Type::kInt64, 0}};
  static constexpr Argument kOutputs[] = {{"transforms", Type::kFloat32, kAnyRank}};

  static std::string Check(const Attributes&, const Shapes& in) {
    return CheckTransformSizes(in[0], in[1], in[3], in[4]);
  }
  static Shapes OutputShapes(const Attributes&, const Shapes& in) {
    Sizes rows = in[2];
    rows.push_back(kTransform);
    return {rows};
  }

  static std::string Run(const Attributes&, const CpuCall& call) {
    const int64_t* s = call.in<int64_t>(1);
    const int64_t seed = *call.in<int64_t>(3), step = *call.in<int64_t>(4);
    const std::string problem =
        CheckTransformValues(call.in<float>(0), s, call.vector<int64_t>(2), seed, step);
    if (problem.empty())
      DrawTransforms(call.executor, call.in<float>(0), {s[0], s[1], s[2], s[3]}, call.vector<int64_t>(2),
                     seed, step, call.out<float>(0));
    return problem;
  }

  static int64_t Workspace(const Attributes&, const Call&) { return 0; }
  static std::string Run(const Attributes&, const GpuCall& call) {
    return cuda::DrawTransforms(call.stream, call.in<float>(0), call.in<int64_t>(1), call.vector<int64_t>(2),
                                call.in<int64_t>(3), call.in<int64_t>(4), call.out<float>(0));
  }
};

}  // namespace fslcore::bindings
