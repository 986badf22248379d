// SPDX-License-Identifier: MIT
// Device time: the time between two events, with the second-level cache flushed before.
#pragma once
#include <cuda_runtime.h>

#include <functional>
#include <string>

#include "bench/buffers.h"
#include "cuda/stream.h"

namespace fslcore::bench {

// Puts work on the stream; returns an error message, or an empty string.
using Run = std::function<std::string(cuda::Stream)>;

class Timer {
 public:
  explicit Timer(int repeats);
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer();

  // The median of the repeats, after a few that do not count.
  double Milliseconds(const Run& run) const;

  cuda::Stream stream() const { return stream_; }

 private:
  float Once(const Run& run) const;

  int repeats_;
  cuda::Stream stream_;
  cudaEvent_t begin_, end_;
  Buffer<char> flushed_;
};

}  // namespace fslcore::bench
