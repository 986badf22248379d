// SPDX-License-Identifier: MIT
#include <cstdio>
#include <cstdlib>

#include "bench/buffers.h"
#include "core/random/philox.h"

namespace fslcore::bench {
namespace {

template <class T, class Value>
Buffer<T> Filled(int64_t size, uint64_t seed, const Value& value) {
  PhiloxStream stream(seed, 0, 0);
  std::vector<T> values(static_cast<size_t>(size));
  for (T& v : values) v = value(stream);
  return Buffer<T>(values);
}

}  // namespace

void Require(const std::string& problem) {
  if (problem.empty()) return;
  std::fflush(stdout);
  std::fprintf(stderr, "cannot go on: %s\n", problem.c_str());
  std::exit(EXIT_FAILURE);
}

void Require(cudaError_t error) {
  if (error != cudaSuccess) Require(std::string("CUDA says: ") + cudaGetErrorString(error));
}

Buffer<float> RandomFloats(int64_t size, uint64_t seed) {
  return Filled<float>(size, seed, [](PhiloxStream& stream) {
    return static_cast<float>(stream.Next() >> 8) / static_cast<float>(1 << 23) - 1.0f;
  });
}

Buffer<uint8_t> RandomBytes(int64_t size, uint64_t seed) {
  return Filled<uint8_t>(size, seed,
                         [](PhiloxStream& stream) { return static_cast<uint8_t>(stream.Next()); });
}

Buffer<int64_t> RandomNumbers(int64_t size, int64_t below, uint64_t seed) {
  return Filled<int64_t>(size, seed, [below](PhiloxStream& stream) {
    return int64_t{stream.Below(static_cast<uint32_t>(below))};
  });
}

Buffer<int64_t> RoundRobinLabels(int64_t size, int64_t classes) {
  std::vector<int64_t> labels(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) labels[static_cast<size_t>(i)] = i % classes;
  return Buffer<int64_t>(labels);
}

}  // namespace fslcore::bench
