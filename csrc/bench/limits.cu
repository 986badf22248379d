// SPDX-License-Identifier: MIT
#include <algorithm>

#include "bench/limits.h"
#include "cuda/launch.h"

namespace fslcore::bench {
namespace {

constexpr int kThreads = 256, kChains = 8, kSteps = 4096;
constexpr int64_t kBlocksToAMultiprocessor = 32;
constexpr int64_t kCopied = 1 << 30;

// Independent chains in registers, enough of them for a multiprocessor never to wait.
__global__ void __launch_bounds__(kThreads) MultiplyAdd(float factor, float* out) {
  float sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = static_cast<float>(threadIdx.x + c);
#pragma unroll 16
  for (int step = 0; step < kSteps; ++step)
    for (int c = 0; c < kChains; ++c) sums[c] = fmaf(sums[c], factor, 1.0f);
  float sum = 0.0f;
  for (int c = 0; c < kChains; ++c) sum += sums[c];
  out[blockIdx.x * kThreads + threadIdx.x] = sum;
}

double MultiplyAddRate(const Timer& timer) {
  int device = 0, multiprocessors = 0;
  Require(cudaGetDevice(&device));
  Require(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  const int64_t blocks = multiprocessors * kBlocksToAMultiprocessor;
  const Buffer<float> out(blocks * kThreads);
  const double milliseconds = timer.Milliseconds([&](cuda::Stream stream) {
    cuda::Launches launches(stream, "measuring multiply-adds");
    launches.Run({blocks, kThreads}, MultiplyAdd, 0.5f, out.get());
    return launches.problem();
  });
  return 2.0 * kSteps * kChains * kThreads * static_cast<double>(blocks) / milliseconds * 1e3;
}

double CopyRate(const Timer& timer) {
  const Buffer<char> from(kCopied), to(kCopied);
  Require(cudaMemset(from.get(), 1, from.bytes()));
  const double milliseconds = timer.Milliseconds([&](cuda::Stream stream) {
    Require(cudaMemcpyAsync(to.get(), from.get(), from.bytes(), cudaMemcpyDeviceToDevice, stream));
    return std::string();
  });
  return 2.0 * kCopied / milliseconds * 1e3;
}

double OperationSeconds(const Work& work, const Limits& limits) {
  return work.operations / (limits.operations * work.speed);
}

double ByteSeconds(const Work& work, const Limits& limits) { return work.bytes / limits.bytes; }

}  // namespace

Limits MeasureLimits(const Timer& timer) { return {MultiplyAddRate(timer), CopyRate(timer)}; }

double FloorMilliseconds(const Work& work, const Limits& limits) {
  return 1e3 * std::max(OperationSeconds(work, limits), ByteSeconds(work, limits));
}

bool IsMemoryBound(const Work& work, const Limits& limits) {
  return ByteSeconds(work, limits) > OperationSeconds(work, limits);
}

}  // namespace fslcore::bench
