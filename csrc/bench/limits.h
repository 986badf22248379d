// SPDX-License-Identifier: MIT
// The measured peak rates of the device, against which the kernels are compared.
#pragma once
#include "bench/timing.h"

namespace fslcore::bench {

struct Limits {
  double operations;  // per second, float32, a fused multiply-add for two
  double bytes;       // per second, read or written, when copying
};

Limits MeasureLimits(const Timer& timer);

// The least work of one call.
struct Work {
  double operations = 0;
  double speed = 1;  // of the units that do them, against float32
  double bytes = 0;  // each input read once, each output written once
};

// The least time for the work.
double FloorMilliseconds(const Work& work, const Limits& limits);

// Whether its bytes take longer than its operations.
bool IsMemoryBound(const Work& work, const Limits& limits);

}  // namespace fslcore::bench
