// SPDX-License-Identifier: MIT
// The triplet loss with its gradient, and the triplets themselves.
#pragma once
#include <algorithm>

#include "bindings/op.h"
#include "core/triplets/triplets.h"
#include "cuda/devices.h"
#include "cuda/triplets/triplets.h"

namespace fslcore::bindings {

struct TripletAttributes {
  Mining mining;
  Metric metric;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("mining", mining);
    visit("metric", metric, kTripletMetrics);
  }

  cuda::TripletBatch on_gpu(const Call& call, const int32_t* rows) const {
    return {mining, metric, call.matrix(0), call.in<int64_t>(1), rows};
  }
};

struct TripletLossAttributes : TripletAttributes {
  float margin;

  template <class Visitor>
  void Visit(Visitor& visit) {
    TripletAttributes::Visit(visit);
    visit("margin", margin);
  }
};

struct TripletLoss : Op {
  using Attributes = TripletLossAttributes;
  static constexpr Argument kInputs[] = {{"x", Type::kFloat32, 2}, {"labels", Type::kInt64, 1}};
  static constexpr Argument kOutputs[] = {
      {"loss", Type::kFloat32, 0}, {"grad", Type::kFloat32, 2}, {"num_pairs", Type::kInt64, 0}};
  static constexpr int kRows = 0;

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckTriplets(a.metric, in[0], in[1]);
  }
  static Shapes OutputShapes(const Attributes&, const Shapes& in) { return {{}, in[0], {}}; }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    const auto x = call.matrix(0);
    float* grad = call.out<float>(1);
    std::fill(grad + call.rows * x.cols, grad + x.rows * x.cols, 0.0f);
    const auto result =
        TripletLossAndGrad(call.executor, a.mining, a.metric, a.margin, {x.data, call.rows, x.cols},
                           {call.in<int64_t>(1), call.rows}, grad);
    *call.out<float>(0) = result.loss;
    *call.out<int64_t>(2) = result.triplets;
    return "";
  }

  static int64_t Workspace(const Attributes& a, const Call& call) {
    return cuda::TripletLossWorkspace(a.on_gpu(call, nullptr));
  }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::TripletLossAndGrad(call.stream, a.on_gpu(call, call.rows), a.margin, call.workspace,
                                    call.out<float>(0), call.out<float>(1), call.out<int64_t>(2));
  }
};

struct MineTriplets : Op {
  using Attributes = TripletAttributes;
  static constexpr Argument kInputs[] = {{"x", Type::kFloat32, 2}, {"labels", Type::kInt64, 1}};
  static constexpr Argument kOutputs[] = {
      {"anchor", Type::kInt32, 1}, {"positive", Type::kInt32, 1}, {"negative", Type::kInt32, 1}};
  static constexpr int kRows = 0;
  static constexpr bool kCounts = true;

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckTriplets(a.metric, in[0], in[1]);
  }
  static Shapes OutputShapes(const Attributes& a, const Shapes& in) {
    const int64_t batch = in[0][0];
    // One row has no triplet; with a bound of 1, XLA would make a gather from it a broadcast and lose its
    // size.
    const int64_t most = batch < 0             ? kUnknown
                         : batch == 1          ? 0
                         : IsOfPairs(a.mining) ? batch * (batch - 1)
                                               : batch;
    return {{most}, {most}, {most}};
  }

  static int64_t Count(const Attributes& a, const CpuCall& call) {
    return CountTriplets(a.mining, {call.in<int64_t>(1), call.rows});
  }
  static std::string Run(const Attributes& a, const CpuCall& call) {
    const auto x = call.matrix(0);
    fslcore::MineTriplets(call.executor, a.mining, a.metric, {x.data, call.rows, x.cols},
                          {call.in<int64_t>(1), call.rows}, call.out<int32_t>(0), call.out<int32_t>(1),
                          call.out<int32_t>(2));
    return "";
  }

  static int64_t Workspace(const Attributes& a, const Call& call) {
    return cuda::MineTripletsWorkspace(a.on_gpu(call, nullptr));
  }
  static std::string Count(const Attributes& a, const GpuCall& call, int64_t* on_device) {
    return cuda::CountTriplets(call.stream, a.on_gpu(call, call.rows), call.workspace, on_device);
  }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::MineTriplets(call.stream, a.on_gpu(call, call.rows), call.workspace,
                              call.output_shapes[0][0], call.out<int32_t>(0), call.out<int32_t>(1),
                              call.out<int32_t>(2), call.written);
  }
};

}  // namespace fslcore::bindings
