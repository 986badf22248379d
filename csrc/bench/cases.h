// SPDX-License-Identifier: MIT
// What is timed, and what is repeated to see that its bits do not change.
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

// A product x x^T of the library that everybody has.
struct Rival {
  int64_t rows, dim;
  Precision precision;  // but 3xTF32
};

struct Case {
  std::string name;
  Work work;
  double bar;  // percent of the limit that are aimed at; 0 for none
  Run run;     // holds its buffers
  std::optional<Rival> rival = std::nullopt;
};

// Inputs are made when a case's turn has come, and go with it.
using MakeCase = std::function<Case()>;

std::vector<MakeCase> PairwiseCases();
std::vector<MakeCase> TripletCases();
std::vector<MakeCase> EpisodeCases();

// Something on one input, and all that it writes: the workspace too, which must not matter.
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

template <class T>
Repeated::Written Result(const Buffer<T>& buffer) {
  return {buffer.get(), buffer.bytes(), true};
}
inline Repeated::Written Workspace(const Buffer<char>& buffer) {
  return {buffer.get(), buffer.bytes(), false};
}

}  // namespace fslcore::bench
