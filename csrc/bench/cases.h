// SPDX-License-Identifier: MIT
// The timed cases, and the repeated ones, whose bits must not change.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/buffers.h"
#include "bench/limits.h"
#include "bench/timing.h"
#include "core/pairwise/metric.h"

namespace fslcore::bench {

// A product x x^T by cuBLAS, for comparison.
struct Rival {
  int64_t rows, dim;
  Precision precision;  // but 3xTF32
};

struct Case {
  std::string name;
  Work work;
  double bar;  // target, in percent of the limit; 0 for none
  Run run;     // holds its buffers
  std::optional<Rival> rival = std::nullopt;
};

// Inputs are made when the case runs, and freed after it.
using MakeCase = std::function<Case()>;

std::vector<MakeCase> PairwiseCases();
std::vector<MakeCase> TripletCases();
std::vector<MakeCase> EpisodeCases();
std::vector<MakeCase> SearchCases();

// A call on one input, and all the memory that it writes, the workspace included.
struct Repeated {
  struct Written {
    void* data;
    size_t bytes;
    bool result;  // and not workspace
  };
  std::string name;
  Run run;
  std::vector<Written> written;
};

using MakeRepeated = std::function<Repeated()>;

std::vector<MakeRepeated> PairwiseRepeats();
std::vector<MakeRepeated> TripletRepeats();
std::vector<MakeRepeated> EpisodeRepeats();
std::vector<MakeRepeated> SearchRepeats();

template <class T>
Repeated::Written Result(const Buffer<T>& buffer) {
  return {buffer.get(), buffer.bytes(), true};
}
inline Repeated::Written Workspace(const Buffer<char>& buffer) {
  return {buffer.get(), buffer.bytes(), false};
}

}  // namespace fslcore::bench
