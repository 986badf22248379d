// SPDX-License-Identifier: MIT
#include <algorithm>
#include <vector>

#include "bench/timing.h"

namespace fslcore::bench {
namespace {

constexpr int kWarmUps = 3;
constexpr int64_t kLeastFlushed = 256 << 20;

// Several times the cache, and enough for the launches to be queued while it is written: the gaps between
// them are then the device's and not the host's.
int64_t FlushedBytes() {
  int device = 0, cache = 0;
  Require(cudaGetDevice(&device));
  Require(cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, device));
  return std::max<int64_t>(kLeastFlushed, int64_t{4} * cache);
}

}  // namespace

Timer::Timer(int repeats) : repeats_(repeats), flushed_(FlushedBytes()) {
  Require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  Require(cudaEventCreate(&begin_));
  Require(cudaEventCreate(&end_));
}

Timer::~Timer() {
  cudaEventDestroy(begin_);
  cudaEventDestroy(end_);
  cudaStreamDestroy(stream_);
}

float Timer::Once(const Run& run) const {
  Require(cudaMemsetAsync(flushed_.get(), 1, flushed_.bytes(), stream_));
  Require(cudaEventRecord(begin_, stream_));
  Require(run(stream_));
  Require(cudaEventRecord(end_, stream_));
  Require(cudaEventSynchronize(end_));
  float milliseconds = 0;
  Require(cudaEventElapsedTime(&milliseconds, begin_, end_));
  return milliseconds;
}

double Timer::Milliseconds(const Run& run) const {
  for (int i = 0; i < kWarmUps; ++i) Once(run);
  std::vector<float> times;
  for (int i = 0; i < repeats_; ++i) times.push_back(Once(run));
  std::nth_element(times.begin(), times.begin() + repeats_ / 2, times.end());
  return times[static_cast<size_t>(repeats_ / 2)];
}

}  // namespace fslcore::bench
