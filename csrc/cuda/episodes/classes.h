// SPDX-License-Identifier: MIT
// core/episodes/classes.h on a GPU: labels grouped by class, the index that mining and sampling share. All in
// the caller's workspace on the device.
#pragma once
#include <cstdint>

#include "core/arrays/views.h"
#include "cuda/launch.h"

namespace fslcore::cuda {

struct Classes {
  int32_t* count;     // scalar
  int32_t* offsets;   // [n + 1] into members, of which *count + 1 are there
  int32_t* members;   // [n] positions, by class, increasing within a class
  int32_t* class_of;  // [n] by position; -1 beyond the real rows
  int32_t* place;     // [n] by position: where in members it is

  // What grouping needs meanwhile.
  int32_t *positions, *starts;
  int64_t *keys, *sorted_keys, *numbers;
  void* scratch;

  Classes(Parts& parts, int64_t n);
};

// Nothing on the host has checked *rows.
__device__ inline int64_t RealRows(const int32_t* rows, int64_t n) {
  if (rows == nullptr || *rows > n) return n;
  return *rows > 0 ? *rows : 0;
}

// Groups the first *rows labels, or all if rows is null.
void GroupByClass(Launches& launches, Vector<const int64_t> labels, const int32_t* rows,
                  const Classes& classes);

}  // namespace fslcore::cuda
