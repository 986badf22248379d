// SPDX-License-Identifier: MIT
// The results, as a table for the terminal and as JSON for programs.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "bench/limits.h"
#include "bench/repeats.h"

namespace fslcore::bench {

struct Check {
  std::string name;
  int failures;
};

struct Timing {
  std::string name;
  Work work;
  double milliseconds, bar;
  std::optional<double> rival_milliseconds;
};

struct Report {
  std::string device, runtime, rival;  // rival: the library's name, or why there is none
  Limits limits;
  std::vector<Check> checks;
  std::vector<Repetition> repetitions;
  std::vector<Timing> timings;

  bool passed() const;
};

// Each prints one line as soon as its result is known.
void Print(const Check& check);
void Print(const Repetition& repetition);
void Print(const Limits& limits);
void PrintTimingHead();
void Print(const Timing& timing, const Limits& limits);

// Returns an error message, or an empty string.
std::string WriteJson(const Report& report, const std::string& file);

}  // namespace fslcore::bench
