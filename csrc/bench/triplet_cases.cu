// SPDX-License-Identifier: MIT
#include <algorithm>

#include "bench/cases.h"
#include "cuda/devices.h"
#include "cuda/triplets/triplets.h"

namespace fslcore::bench {
namespace {

constexpr double kBar = 50;  // percent of a product x x^T in float32
constexpr float kMargin = 0.3f;

struct Problem {
  Mining mining;
  int64_t rows, dim, classes;

  std::string name() const {
    return std::string(kMiningNames[static_cast<size_t>(mining)]) + " triplet loss and gradient, " +
           std::to_string(rows) + " x " + std::to_string(dim) + ", " + std::to_string(classes) + " classes";
  }
};

struct Triplets {
  Buffer<float> x, grad, loss;
  Buffer<int64_t> labels, count;
  cuda::TripletBatch batch;
  Buffer<char> workspace;

  explicit Triplets(const Problem& p)
      : x(RandomFloats(p.rows * p.dim, 6)),
        grad(x.size()),
        loss(1),
        labels(RoundRobinLabels(p.rows, p.classes)),
        count(1),
        batch{p.mining, Metric::kSqeuclidean, x.rows(p.dim), labels.get(), nullptr},
        workspace(std::max(cuda::TripletLossWorkspace(batch), cuda::MineTripletsWorkspace(batch))) {}

  std::string operator()(cuda::Stream stream) const {
    return cuda::TripletLossAndGrad(stream, batch, kMargin, workspace.get(), loss.get(), grad.get(),
                                    count.get());
  }
};

Case CaseOf(const Problem& p) {
  const auto rows = static_cast<double>(p.rows), dim = static_cast<double>(p.dim);
  return {p.name(), Work{2 * rows * rows * dim, 1, 4 * 2 * rows * dim}, kBar, Triplets(p),
          Rival{p.rows, p.dim, Precision::kFloat32}};
}

Repeated LossRepeated(const Problem& p) {
  const Triplets triplets(p);
  return {
      p.name(),
      triplets,
      {Result(triplets.loss), Result(triplets.grad), Result(triplets.count), Workspace(triplets.workspace)}};
}

Repeated MiningRepeated(const Problem& p) {
  const Triplets triplets(p);
  int64_t room = 0;
  Require(cuda::CountTriplets(nullptr, triplets.batch, triplets.workspace.get(), triplets.count.get()));
  Require(cuda::Fetch(nullptr, triplets.count.get(), &room));
  const Buffer<int32_t> anchor(room), positive(room), negative(room);
  const Run run = [=](cuda::Stream stream) {
    return cuda::MineTriplets(stream, triplets.batch, triplets.workspace.get(), room, anchor.get(),
                              positive.get(), negative.get());
  };
  return {"mined: " + p.name(),
          run,
          {Result(anchor), Result(positive), Result(negative), Workspace(triplets.workspace)}};
}

}  // namespace

std::vector<MakeCase> TripletCases() {
  std::vector<MakeCase> cases;
  for (const Problem& p : {Problem{Mining::kSemihard, 32768, 128, 8192},
                           {Mining::kSemihard, 4096, 128, 1024},
                           {Mining::kSemihard, 4096, 128, 10},
                           {Mining::kHard, 4096, 128, 1024}})
    cases.push_back([p] { return CaseOf(p); });
  return cases;
}

std::vector<MakeRepeated> TripletRepeats() {
  std::vector<MakeRepeated> repeats;
  for (const Problem& p : {Problem{Mining::kSemihard, 1001, 130, 250},
                           {Mining::kSemihard, 1001, 130, 7},
                           {Mining::kHard, 1001, 130, 250},
                           {Mining::kHard, 1001, 130, 7}}) {
    repeats.push_back([p] { return LossRepeated(p); });
    repeats.push_back([p] { return MiningRepeated(p); });
  }
  return repeats;
}

}  // namespace fslcore::bench
