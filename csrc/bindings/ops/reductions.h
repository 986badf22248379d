// SPDX-License-Identifier: MIT
// Reductions over the pairs of rows, and their gradient; sums over pairs with theirs.
#pragma once
#include "bindings/op.h"
#include "core/reductions/pair_reduction.h"
#include "core/reductions/pair_sum.h"
#include "cuda/reductions/pair_reduction.h"
#include "cuda/reductions/pair_sum.h"

namespace fslcore::bindings {

struct PairReductionAttributes {
  Metric metric;
  PairRows rows;
  std::array<PairTerm, kPairTerms> terms;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("metric", metric, kReducedMetrics);
    visit("rows", rows);
    visit("first_pairs", terms[0].pairs);
    visit("first_function", terms[0].function);
    visit("first_reduction", terms[0].reduction);
    visit("second_pairs", terms[1].pairs);
    visit("second_function", terms[1].function);
    visit("second_reduction", terms[1].reduction);
  }

  // The inputs that both ops begin with.
  std::string Check(const Shapes& in) const {
    return CheckPairReduction(metric, rows, terms, in[0], in[1], in[2], in[3], in[4], in[5], in[6]);
  }
  PairProblem Problem(const Call& call) const {
    return {metric,
            rows,
            terms,
            call.matrix(0),
            call.matrix(1),
            call.in<int64_t>(2),
            call.in<int64_t>(3),
            call.vector<float>(4),
            call.in<float>(5),
            call.input_is_empty(6) ? nullptr : call.in<float>(6)};
  }
};

struct PairReductions : Op {
  using Attributes = PairReductionAttributes;
  static constexpr Argument kInputs[] = {{"x", Type::kFloat32, 2},       {"y", Type::kFloat32, 2},
                                         {"x_labels", Type::kInt64, 1},  {"y_labels", Type::kInt64, 1},
                                         {"weights", Type::kFloat32, 1}, {"parameters", Type::kFloat32, 2},
                                         {"levels", Type::kFloat32, 2}};
  static constexpr Argument kOutputs[] = {
      {"values", Type::kFloat32, 2}, {"indices", Type::kInt32, 2}, {"counts", Type::kFloat32, 2}};

  static std::string Check(const Attributes& a, const Shapes& in) { return a.Check(in); }
  static Shapes OutputShapes(const Attributes&, const Shapes& in) {
    const Sizes sizes = {kPairTerms, in[0][0]};
    return {sizes, sizes, sizes};
  }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    ReducePairs(call.executor, a.Problem(call),
                {call.out<float>(0), call.out<int32_t>(1), call.out<float>(2)});
    return "";
  }

  static int64_t Workspace(const Attributes& a, const Call& call) {
    return cuda::ReducePairsWorkspace(a.Problem(call));
  }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::ReducePairs(call.stream, a.Problem(call), call.workspace,
                             {call.out<float>(0), call.out<int32_t>(1), call.out<float>(2)});
  }
};

struct PairReductionsGrad : Op {
  using Attributes = PairReductionAttributes;
  static constexpr Argument kInputs[] = {
      {"x", Type::kFloat32, 2},      {"y", Type::kFloat32, 2},       {"x_labels", Type::kInt64, 1},
      {"y_labels", Type::kInt64, 1}, {"weights", Type::kFloat32, 1}, {"parameters", Type::kFloat32, 2},
      {"levels", Type::kFloat32, 2}, {"values", Type::kFloat32, 2},  {"grad", Type::kFloat32, 2}};
  static constexpr Argument kOutputs[] = {{"dx", Type::kFloat32, 2},
                                          {"dy", Type::kFloat32, 2},
                                          {"dlevels", Type::kFloat32, 2},
                                          {"sums", Type::kFloat32, 3}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    const Sizes sizes = {kPairTerms, in[0].empty() ? 0 : in[0][0]};
    return FirstOf({a.Check(in), CheckSizes("values", in[7], sizes), CheckSizes("grad", in[8], sizes)});
  }
  static Shapes OutputShapes(const Attributes&, const Shapes& in) {
    return {in[0], in[1], in[6], {kPairTerms, 2, in[0][0]}};
  }

  static PairGradients Gradients(const Call& call) {
    return {call.out<float>(0), call.out<float>(1), call.output_is_empty(2) ? nullptr : call.out<float>(2),
            call.out<float>(3)};
  }
  static std::string Run(const Attributes& a, const CpuCall& call) {
    ReducePairsGrad(call.executor, a.Problem(call), call.in<float>(7), call.in<float>(8), Gradients(call));
    return "";
  }

  static int64_t Workspace(const Attributes& a, const Call& call) {
    return cuda::ReducePairsGradWorkspace(a.Problem(call));
  }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::ReducePairsGrad(call.stream, a.Problem(call), call.workspace, call.in<float>(7),
                                 call.in<float>(8), Gradients(call));
  }
};

struct PairSums : Op {
  using Attributes = PairReductionAttributes;
  static constexpr Argument kInputs[] = {{"x", Type::kFloat32, 2},       {"y", Type::kFloat32, 2},
                                         {"x_labels", Type::kInt64, 1},  {"y_labels", Type::kInt64, 1},
                                         {"weights", Type::kFloat32, 1}, {"parameters", Type::kFloat32, 2},
                                         {"levels", Type::kFloat32, 2},  {"factors", Type::kFloat32, 1}};
  static constexpr Argument kOutputs[] = {{"total", Type::kFloat32, 0},  {"counts", Type::kFloat32, 1},
                                          {"slopes", Type::kFloat32, 2}, {"dx", Type::kFloat32, 2},
                                          {"dy", Type::kFloat32, 2},     {"dparameters", Type::kFloat32, 2}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckPairSum(a.metric, a.rows, a.terms, in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7]);
  }
  static Shapes OutputShapes(const Attributes&, const Shapes& in) {
    return {{}, {kPairTerms}, in[6], in[0], in[1], {kPairTerms, 2}};
  }

  static PairSumProblem Problem(const Attributes& a, const Call& call) {
    PairProblem pairs = a.Problem(call);
    pairs.levels = nullptr;
    return {pairs, call.in<float>(7), call.input_shapes[6][0], call.in<float>(6)};
  }
  static fslcore::PairSums Sums(const Call& call) {
    return {call.out<float>(0), call.out<float>(1), call.out<float>(2),
            call.out<float>(3), call.out<float>(4), call.out<float>(5)};
  }
  static std::string Run(const Attributes& a, const CpuCall& call) {
    SumPairs(call.executor, Problem(a, call), Sums(call));
    return "";
  }

  static int64_t Workspace(const Attributes& a, const Call& call) {
    return cuda::SumPairsWorkspace(Problem(a, call));
  }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::SumPairs(call.stream, Problem(a, call), call.workspace, Sums(call));
  }
};

}  // namespace fslcore::bindings
