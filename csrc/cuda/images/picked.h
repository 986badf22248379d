// SPDX-License-Identifier: MIT
// An image of a store by its index and its quarter turns, on a GPU.
#pragma once
#include <cuda_runtime.h>

#include "core/arrays/views.h"

namespace fslcore::cuda {

// A picked image as it is seen after its turns: pixel (r, c) starts at
// first[(r * row_step + c * col_step) * channels].
struct Picked {
  const uint8_t* first;    // null if there is no such image
  int row_step, col_step;  // 0 then
};

__device__ inline Picked Pick(const Images& store, int64_t index, int64_t turn) {
  const int h = static_cast<int>(store.height), w = static_cast<int>(store.width);
  if (index < 0 || index >= store.count || turn < 0 || turn > 3 || (turn % 2 == 1 && h != w))
    return {nullptr, 0, 0};
  const auto from = [&](int pixel, int row_step, int col_step) -> Picked {
    return {store.data + index * store.pixels() + static_cast<int64_t>(pixel) * store.channels, row_step,
            col_step};
  };
  // Counter-clockwise: after one turn, row r of the result is column w - 1 - r of the image.
  if (turn == 1) return from(w - 1, -1, w);
  if (turn == 2) return from(h * w - 1, -w, -1);
  if (turn == 3) return from((h - 1) * w, 1, -w);
  return from(0, w, 1);
}

}  // namespace fslcore::cuda
