// SPDX-License-Identifier: MIT
#include "core/arrays/pages.h"

#include "core/arrays/rounding.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace fslcore {

void AdviseHugePages(void* begin, int64_t bytes) {
#ifdef __linux__
  constexpr int64_t kHugePage = 2 << 20;
  if (bytes < 2 * kHugePage) return;
  const auto at = static_cast<int64_t>(reinterpret_cast<uintptr_t>(begin));
  const int64_t first = RoundUp(at, kHugePage), last = (at + bytes) / kHugePage * kHugePage;
  // A system that refuses fills pages of the usual size.
  static_cast<void>(
      madvise(reinterpret_cast<void*>(first), static_cast<size_t>(last - first), MADV_HUGEPAGE));
#else
  static_cast<void>(begin);
  static_cast<void>(bytes);
#endif
}

}  // namespace fslcore
