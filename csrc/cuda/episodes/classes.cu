// SPDX-License-Identifier: MIT
#include "cuda/episodes/classes.h"
#include "cuda/primitives.h"
#include "cuda/threads.h"

namespace fslcore::cuda {
namespace {

// Padding goes behind everything: it has the largest label there is, comes last, and the sort is stable.
__global__ void MakeKeys(const int64_t* labels, const int32_t* rows, int64_t n, int64_t* keys,
                         int32_t* positions) {
  const int64_t i = ThreadOfGrid();
  if (i >= n) return;
  keys[i] = i < RealRows(rows, n) ? labels[i] : INT64_MAX;
  positions[i] = static_cast<int32_t>(i);
}

__global__ void MarkStarts(const int64_t* sorted_keys, int64_t n, int32_t* starts) {
  const int64_t i = ThreadOfGrid();
  if (i < n) starts[i] = i == 0 || sorted_keys[i] != sorted_keys[i - 1];
}

__global__ void Index(Classes classes, const int32_t* rows, int64_t n) {
  const int64_t i = ThreadOfGrid(), real = RealRows(rows, n);
  if (i == 0 && real == 0) *classes.count = classes.offsets[0] = 0;
  if (i >= n) return;
  const int32_t member = classes.members[i], number = static_cast<int32_t>(classes.numbers[i]);
  classes.place[member] = static_cast<int32_t>(i);
  classes.class_of[member] = i < real ? number - 1 : -1;
  if (i >= real) return;
  if (classes.starts[i]) classes.offsets[number - 1] = static_cast<int32_t>(i);
  if (i == real - 1) {
    classes.offsets[number] = static_cast<int32_t>(real);
    *classes.count = number;
  }
}

}  // namespace

Classes::Classes(Parts& parts, int64_t n)
    : count(parts.Take<int32_t>(1)),
      offsets(parts.Take<int32_t>(n + 1)),
      members(parts.Take<int32_t>(n)),
      class_of(parts.Take<int32_t>(n)),
      place(parts.Take<int32_t>(n)),
      positions(parts.Take<int32_t>(n)),
      starts(parts.Take<int32_t>(n)),
      keys(parts.Take<int64_t>(n)),
      sorted_keys(parts.Take<int64_t>(n)),
      numbers(parts.Take<int64_t>(n)),
      scratch(parts.Take<char>(PrimitivesScratch(n))) {}

void GroupByClass(Launches& launches, Vector<const int64_t> labels, const int32_t* rows,
                  const Classes& classes) {
  const int64_t n = labels.size;
  launches.Run(OneThreadEach(n), MakeKeys, labels.data, rows, n, classes.keys, classes.positions);
  SortByKey(launches, n, classes.keys, classes.positions, classes.sorted_keys, classes.members,
            classes.scratch);
  launches.Run(OneThreadEach(n), MarkStarts, classes.sorted_keys, n, classes.starts);
  RunningSums(launches, n, classes.starts, classes.numbers, classes.scratch);
  launches.Run(OneThreadEach(n + 1), Index, classes, rows, n);
}

}  // namespace fslcore::cuda
