// SPDX-License-Identifier: MIT
// N-way K-shot episodes.
#pragma once
#include "bindings/op.h"
#include "core/episodes/episodes.h"
#include "cuda/episodes/episodes.h"

namespace fslcore::bindings {

struct SampleEpisodesAttributes {
  EpisodeShape shape;
  int64_t episodes;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("n_way", shape.n_way);
    visit("k_shot", shape.k_shot);
    visit("n_query", shape.n_query);
    visit("episodes", episodes);
  }
};

struct SampleEpisodes : Op {
  using Attributes = SampleEpisodesAttributes;
  static constexpr Argument kInputs[] = {
      {"labels", Type::kInt64, 1}, {"seed", Type::kInt64, 0}, {"first_episode", Type::kInt64, 0}};
  static constexpr Argument kOutputs[] = {{"indices", Type::kInt32, 3}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckEpisodeSizes(a.shape, a.episodes, in[0], in[1], in[2]);
  }
  static Shapes OutputShapes(const Attributes& a, const Shapes&) {
    int64_t samples;
    if (__builtin_add_overflow(a.shape.k_shot, a.shape.n_query, &samples)) samples = INT64_MAX;
    return {{Known(a.episodes), Known(a.shape.n_way), Known(samples)}};
  }
  static const char* RefuseDynamic(size_t) {
    return "labels must have a static shape to sample episodes inside XLA";
  }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    const Classes classes(call.vector<int64_t>(0));
    const int64_t seed = *call.in<int64_t>(1), first = *call.in<int64_t>(2);
    const std::string problem = CheckEpisodes(classes, a.shape, a.episodes, seed, first);
    if (problem.empty())
      fslcore::SampleEpisodes(call.executor, classes, a.shape, a.episodes, seed, first, call.out<int32_t>(0));
    return problem;
  }

  static int64_t Workspace(const Attributes& a, const Call& call) {
    return cuda::SampleEpisodesWorkspace(call.vector<int64_t>(0), a.shape, a.episodes);
  }
  static std::string Run(const Attributes& a, const GpuCall& call) {
    return cuda::SampleEpisodes(call.stream, call.vector<int64_t>(0), a.shape, a.episodes,
                                call.in<int64_t>(1), call.in<int64_t>(2), call.workspace,
                                call.out<int32_t>(0));
  }
};

}  // namespace fslcore::bindings
