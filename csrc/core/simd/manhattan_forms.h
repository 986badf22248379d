// SPDX-License-Identifier: MIT
// Which forms of the manhattan kernels are the faster on this CPU. Both forms have the same bits.
#pragma once

namespace fslcore::simd {

struct ManhattanForms {
  bool max_by_fma;    // sum + 1 * max(x, y), not sum + max(x, y)
  bool spread_signs;  // gradients by additions too, not by multiply-adds alone
};

// Measured at the first call, in some tenths of a millisecond, at ActiveCpuLevel().
const ManhattanForms& FastestManhattanForms();

}  // namespace fslcore::simd
