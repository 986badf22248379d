// SPDX-License-Identifier: MIT
// Quarter turns of an image of bytes.
#pragma once
#include "core/arrays/views.h"

namespace fslcore {

// Counter-clockwise: after one turn, row r of the result is column width - 1 - r of the image. `turns` is
// 1..3, and 2 unless the image is square; `out` has the bytes of an image of the store.
void TurnImage(const Images& store, const uint8_t* image, int64_t turns, uint8_t* out);

}  // namespace fslcore
