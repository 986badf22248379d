// SPDX-License-Identifier: MIT
// The k nearest rows of each query.
#pragma once
#include "bindings/op.h"
#include "core/search/nearest.h"
#include "cuda/search/nearest.h"

namespace fslcore::bindings {

struct NearestAttributes {
  Metric metric;
  int64_t k;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("metric", metric, kSearchMetrics);
    visit(AtLeast(1, "k"), k);
  }
};

struct Nearest : Op {
  using Attributes = NearestAttributes;
  static constexpr Argument kInputs[] = {{"queries", Type::kFloat32, 2}, {"rows", Type::kFloat32, 2}};
  static constexpr Argument kOutputs[] = {{"values", Type::kFloat32, 2}, {"indices", Type::kInt32, 2}};
  static constexpr int kRows = 1;

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckNearest(a.metric, a.k, in[0], in[1]);
  }
  static Shapes OutputShapes(const Attributes& a, const Shapes& in) {
    return {{in[0][0], Known(a.k)}, {in[0][0], Known(a.k)}};
  }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    const std::string problem = CheckNearestRows(a.k, call.rows);
    if (!problem.empty()) return problem;
    const auto rows = call.matrix(1);
    fslcore::Nearest(call.executor, a.metric, call.matrix(0), {rows.data, call.rows, rows.cols}, a.k,
                     call.out<float>(0), call.out<int32_t>(1));
    return "";
  }

  static int64_t Workspace(const Attributes& a, const Call& call) {
    return cuda::NearestWorkspace(a.metric, call.matrix(0), call.matrix(1), a.k);
  }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::Nearest(call.stream, a.metric, call.matrix(0), call.matrix(1), call.rows, a.k,
                         call.workspace, call.out<float>(0), call.out<int32_t>(1));
  }
};

}  // namespace fslcore::bindings
