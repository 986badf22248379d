// SPDX-License-Identifier: MIT
// Random permutations. On CPUs only: they order what the host draws.
#pragma once
#include "bindings/op.h"
#include "core/random/permutations.h"

namespace fslcore::bindings {

struct PermutationsAttributes {
  int64_t n, count;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("n", n);
    visit("count", count);
  }
};

struct Permutations : Op {
  using Attributes = PermutationsAttributes;
  static constexpr Argument kInputs[] = {{"seed", Type::kInt64, 0}, {"first", Type::kInt64, 0}};
  static constexpr Argument kOutputs[] = {{"permutations", Type::kInt32, 2}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckPermutationSizes(a.n, a.count, in[0], in[1]);
  }
  static Shapes OutputShapes(const Attributes& a, const Shapes&) { return {{Known(a.count), Known(a.n)}}; }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    const int64_t seed = *call.in<int64_t>(0), first = *call.in<int64_t>(1);
    const std::string problem = CheckPermutations(seed, first);
    if (problem.empty())
      fslcore::Permutations(call.executor, a.n, a.count, seed, first, call.out<int32_t>(0));
    return problem;
  }
};

}  // namespace fslcore::bindings
