// SPDX-License-Identifier: MIT
// The pairwise (Gram) matrix and its gradient.
#pragma once
#include "bindings/op.h"
#include "core/pairwise/pairwise.h"
#include "cuda/pairwise/pairwise.h"

namespace fslcore::bindings {

struct PairwiseAttributes {
  Metric metric;
  Activation activation;
  Precision precision = Precision::kFloat32;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("metric", metric);
    visit("activation", activation);
    visit(Optional("precision"), precision);
  }

  PairwiseKernel on_cpu(const CpuCall& call) const {
    return {metric, activation, call.vector<float>(2), *call.in<float>(3)};
  }
  cuda::PairwiseKernel on_gpu(const Call& call) const {
    return {metric, activation, call.vector<float>(2), call.in<float>(3), precision};
  }
};

struct Pairwise : Op {
  using Attributes = PairwiseAttributes;
  static constexpr Argument kInputs[] = {{"x", Type::kFloat32, 2},
                                         {"y", Type::kFloat32, 2},
                                         {"weights", Type::kFloat32, 1},
                                         {"bias", Type::kFloat32, 0}};
  static constexpr Argument kOutputs[] = {{"out", Type::kFloat32, 2}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckPairwise(a.metric, a.activation, in[0], in[1], in[2], in[3]);
  }
  static Shapes OutputShapes(const Attributes&, const Shapes& in) { return {{in[0][0], in[1][0]}}; }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    fslcore::Pairwise(call.executor, a.on_cpu(call), call.matrix(0), call.matrix(1), call.out<float>(0));
    return "";
  }

  static int64_t Workspace(const Attributes& a, const Call& call) {
    return cuda::PairwiseWorkspace(a.on_gpu(call), call.matrix(0), call.matrix(1));
  }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::Pairwise(call.stream, a.on_gpu(call), call.matrix(0), call.matrix(1), call.workspace,
                          call.out<float>(0));
  }
};

struct PairwiseGrad : Op {
  using Attributes = PairwiseAttributes;
  static constexpr Argument kInputs[] = {{"x", Type::kFloat32, 2},       {"y", Type::kFloat32, 2},
                                         {"weights", Type::kFloat32, 1}, {"bias", Type::kFloat32, 0},
                                         {"grad", Type::kFloat32, 2},    {"out", Type::kFloat32, 2}};
  static constexpr Argument kOutputs[] = {{"dx", Type::kFloat32, 2},
                                          {"dy", Type::kFloat32, 2},
                                          {"dweights", Type::kFloat32, 1},
                                          {"dbias", Type::kFloat32, 0}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckPairwiseGrad(a.metric, a.activation, in[0], in[1], in[2], in[3], in[4], in[5]);
  }
  static Shapes OutputShapes(const Attributes&, const Shapes& in) { return {in[0], in[1], in[2], in[3]}; }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    fslcore::PairwiseGrad(call.executor, a.on_cpu(call), call.matrix(0), call.matrix(1), call.in<float>(4),
                          call.in<float>(5),
                          {call.out<float>(0), call.out<float>(1), Weights(call), call.out<float>(3)});
    return "";
  }

  static int64_t Workspace(const Attributes& a, const Call& call) {
    return cuda::PairwiseGradWorkspace(a.on_gpu(call), call.matrix(0), call.matrix(1));
  }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::PairwiseGrad(call.stream, a.on_gpu(call), call.matrix(0), call.matrix(1), call.in<float>(4),
                              call.in<float>(5), call.workspace,
                              {call.out<float>(0), call.out<float>(1), Weights(call), call.out<float>(3)});
  }

 private:
  static float* Weights(const Call& call) { return call.output_is_empty(2) ? nullptr : call.out<float>(2); }
};

}  // namespace fslcore::bindings
