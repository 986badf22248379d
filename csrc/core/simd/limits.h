// SPDX-License-Identifier: MIT
// The measured peak rates of this machine, against which the benchmarks compare the kernels.
#pragma once
#include <cstdint>

#include "core/threads/parallel.h"

namespace fslcore {

// Floating-point operations per second of fused multiply-adds between registers at the active SIMD level (on
// the portable one a multiplication and an addition), on all threads of the executor. The best of several
// rounds, which take about 50 ms together: other load on the machine only ever lowers a round.
double MultiplyAddRate(const Executor& executor);

// Bytes copied per second by memcpy from one array of `bytes` > 0 to another, shared by the threads; the best
// of several rounds. Each byte is read once and written once, and counts once. Takes 2 * bytes of memory.
double CopyRate(const Executor& executor, int64_t bytes);

}  // namespace fslcore
