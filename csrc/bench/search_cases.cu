// SPDX-License-Identifier: MIT
#include "bench/cases.h"
#include "cuda/search/nearest.h"

namespace fslcore::bench {
namespace {

constexpr int64_t kNearest = 10;
constexpr double kBar = 50;  // percent of the limit

struct Problem {
  Metric metric;
  int64_t queries, rows, dim;

  std::string name() const {
    return "the nearest " + std::to_string(kNearest) + " of " + std::to_string(rows) + " x " +
           std::to_string(dim) + ", " + std::to_string(queries) + " queries, " +
           std::string(kMetricNames[static_cast<size_t>(metric)]);
  }
};

struct Search {
  Metric metric;
  int64_t dim;
  Buffer<float> queries, rows, values;
  Buffer<int32_t> indices;
  Buffer<char> workspace;

  explicit Search(const Problem& p)
      : metric(p.metric),
        dim(p.dim),
        queries(RandomFloats(p.queries * p.dim, 7)),
        rows(RandomFloats(p.rows * p.dim, 8)),
        values(p.queries * kNearest),
        indices(p.queries * kNearest),
        workspace(cuda::NearestWorkspace(metric, queries.rows(dim), rows.rows(dim), kNearest)) {}

  std::string operator()(cuda::Stream stream) const {
    return cuda::Nearest(stream, metric, queries.rows(dim), rows.rows(dim), nullptr, kNearest,
                         workspace.get(), values.get(), indices.get());
  }
};

Case CaseOf(const Problem& p) {
  const auto queries = static_cast<double>(p.queries), numbers = static_cast<double>(p.rows * p.dim);
  return {p.name(), Work{2 * queries * numbers, 1, 4 * numbers}, kBar, Search(p)};
}

Repeated RepeatedOf(const Problem& p) {
  const Search search(p);
  return {p.name(), search, {Result(search.values), Result(search.indices), Workspace(search.workspace)}};
}

}  // namespace

std::vector<MakeCase> SearchCases() {
  std::vector<MakeCase> cases;
  for (const Problem& p : {Problem{Metric::kSqeuclidean, 1, 100000, 128},
                           {Metric::kSqeuclidean, 1000, 1000000, 128},
                           {Metric::kCosine, 1000, 100000, 128}})
    cases.push_back([p] { return CaseOf(p); });
  return cases;
}

std::vector<MakeRepeated> SearchRepeats() {
  std::vector<MakeRepeated> repeats;
  for (const Problem& p : {Problem{Metric::kSqeuclidean, 65, 5003, 130}, {Metric::kCosine, 65, 5003, 130}})
    repeats.push_back([p] { return RepeatedOf(p); });
  return repeats;
}

}  // namespace fslcore::bench
