// SPDX-License-Identifier: MIT
// Division of sizes, which are not negative, that rounds up.
#pragma once
#include <cstdint>

namespace fslcore {

constexpr int64_t DivideUp(int64_t n, int64_t divisor) { return (n + divisor - 1) / divisor; }
constexpr int64_t RoundUp(int64_t n, int64_t multiple) { return DivideUp(n, multiple) * multiple; }

}  // namespace fslcore
