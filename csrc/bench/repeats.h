// SPDX-License-Identifier: MIT
// Whether a kernel gives the same bits each time, and writes all that it should.
#pragma once
#include <string>

#include "bench/cases.h"

namespace fslcore::bench {

struct Repetition {
  std::string name;
  int repeats;
  int different;  // from the first
};

// Before each run all that is written is filled with a byte that is never the same twice in a row, so that
// what was not written shows as a difference, and what depends on an old workspace, too.
Repetition Repeat(const Repeated& repeated, int repeats);

}  // namespace fslcore::bench
