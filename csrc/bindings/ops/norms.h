// SPDX-License-Identifier: MIT
// Networks on the norms of pairs of rows, and their gradient.
#pragma once
#include "bindings/op.h"
#include "core/norms/norms.h"
#include "cuda/norms/norms.h"

namespace fslcore::bindings {

struct PairwiseNormsAttributes {
  int64_t norms;
  Activation activation;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("norms", norms);
    visit("activation", activation);
  }

  NormNetwork network(const Call& call, float bias) const {
    return {norms, activation, call.matrix(4), call.in<float>(5), call.in<float>(6), call.vector<float>(7),
            bias};
  }
  // Of x (0) or y (1).
  NormRows rows(const Call& call, size_t side) const {
    return {call.matrix(side), HasNorm(norms, Norm::kUnitProduct) ? call.in<float>(2 + side) : nullptr};
  }
};

struct PairwiseNorms : Op {
  using Attributes = PairwiseNormsAttributes;
  static constexpr Argument kInputs[] = {
      {"x", Type::kFloat32, 2},        {"y", Type::kFloat32, 2},       {"x_scales", Type::kFloat32, 1},
      {"y_scales", Type::kFloat32, 1}, {"hidden", Type::kFloat32, 2},  {"hidden_bias", Type::kFloat32, 1},
      {"mixing", Type::kFloat32, 1},   {"weights", Type::kFloat32, 1}, {"bias", Type::kFloat32, 0}};
  static constexpr Argument kOutputs[] = {{"out", Type::kFloat32, 2}};

  static std::string Check(const Attributes& a, const Shapes& in) { return CheckPairwiseNorms(a.norms, in); }
  static Shapes OutputShapes(const Attributes&, const Shapes& in) { return {{in[0][0], in[1][0]}}; }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    fslcore::PairwiseNorms(call.executor, a.network(call, *call.in<float>(8)), a.rows(call, 0),
                           a.rows(call, 1), call.out<float>(0));
    return "";
  }

  static int64_t Workspace(const Attributes& a, const Call& call) {
    return cuda::PairwiseNormsWorkspace(a.network(call, 0.0f), a.rows(call, 0), a.rows(call, 1));
  }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::PairwiseNorms(call.stream, a.network(call, 0.0f), call.in<float>(8), a.rows(call, 0),
                               a.rows(call, 1), call.workspace, call.out<float>(0));
  }
};

struct PairwiseNormsGrad : Op {
  using Attributes = PairwiseNormsAttributes;
  static constexpr Argument kInputs[] = {
      {"x", Type::kFloat32, 2},        {"y", Type::kFloat32, 2},       {"x_scales", Type::kFloat32, 1},
      {"y_scales", Type::kFloat32, 1}, {"hidden", Type::kFloat32, 2},  {"hidden_bias", Type::kFloat32, 1},
      {"mixing", Type::kFloat32, 1},   {"weights", Type::kFloat32, 1}, {"bias", Type::kFloat32, 0},
      {"grad", Type::kFloat32, 2},     {"out", Type::kFloat32, 2}};
  static constexpr Argument kOutputs[] = {
      {"dx", Type::kFloat32, 2},        {"dy", Type::kFloat32, 2},       {"dx_scales", Type::kFloat32, 1},
      {"dy_scales", Type::kFloat32, 1}, {"dhidden", Type::kFloat32, 2},  {"dhidden_bias", Type::kFloat32, 1},
      {"dmixing", Type::kFloat32, 1},   {"dweights", Type::kFloat32, 1}, {"dbias", Type::kFloat32, 0}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckPairwiseNormsGrad(a.norms, in);
  }
  static Shapes OutputShapes(const Attributes&, const Shapes& in) { return {in.begin(), in.begin() + 9}; }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    fslcore::PairwiseNormsGrad(call.executor, a.network(call, *call.in<float>(8)), a.rows(call, 0),
                               a.rows(call, 1), call.in<float>(9), call.in<float>(10), Gradients(a, call));
    return "";
  }

  static int64_t Workspace(const Attributes& a, const Call& call) {
    return cuda::PairwiseNormsGradWorkspace(a.network(call, 0.0f), a.rows(call, 0), a.rows(call, 1));
  }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::PairwiseNormsGrad(call.stream, a.network(call, 0.0f), a.rows(call, 0), a.rows(call, 1),
                                   call.in<float>(9), call.in<float>(10), call.workspace, Gradients(a, call));
  }

 private:
  static NormsGradients Gradients(const Attributes& a, const Call& call) {
    const bool scaled = HasNorm(a.norms, Norm::kUnitProduct);
    return {call.out<float>(0),
            call.out<float>(1),
            scaled ? call.out<float>(2) : nullptr,
            scaled ? call.out<float>(3) : nullptr,
            call.out<float>(4),
            call.out<float>(5),
            call.out<float>(6),
            call.out<float>(7),
            call.out<float>(8)};
  }
};

}  // namespace fslcore::bindings
