// SPDX-License-Identifier: MIT
// Every level is there.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#define __builtin_cpu_supports(feature) true
#define __builtin_cpu_is(vendor) true
#include "core/simd/cpu_level.cc"
