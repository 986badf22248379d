// SPDX-License-Identifier: MIT
// The arguments of the core's functions: non-owning, contiguous views of the caller's memory. Sizes may be 0.
#pragma once
#include <cstdint>

#include "core/arrays/host_device.h"

namespace fslcore {

template <class T>
struct Vector {
  T* data;
  int64_t size;
};

template <class T>
struct Matrix {  // row-major, rows adjacent
  T* data;
  int64_t rows;
  int64_t cols;
  T* row(int64_t i) const { return data + i * cols; }
};

struct Images {  // uint8 [count, height, width, channels]
  const uint8_t* data;
  int64_t count, height, width, channels;
  FSLCORE_HOST_DEVICE int64_t pixels() const { return height * width * channels; }
};

}  // namespace fslcore
