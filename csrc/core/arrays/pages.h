// SPDX-License-Identifier: MIT
// How the operating system maps large arrays.
#pragma once
#include <cstdint>

namespace fslcore {

// Asks for huge pages where memory that the caller is about to fill has not been touched yet: one page fault
// for 2 MB instead of 512. Nothing for less than 4 MB, and where the system has no such pages.
void AdviseHugePages(void* begin, int64_t bytes);

}  // namespace fslcore
