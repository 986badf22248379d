// SPDX-License-Identifier: MIT
// Checks that a kernel gives the same bits each time, and writes all of its results.
#pragma once
#include <string>

#include "bench/cases.h"

namespace fslcore::bench {

struct Repetition {
  std::string name;
  int repeats;
  int different;  // from the first
};

// Before each run all memory that the call writes is filled with a byte that is never the same twice in a
// row, so that unwritten results, and results that depend on an old workspace, show as differences.
Repetition Repeat(const Repeated& repeated, int repeats);

}  // namespace fslcore::bench
