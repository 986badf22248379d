// SPDX-License-Identifier: MIT
#include "bench/repeats.h"

namespace fslcore::bench {
namespace {

using Bytes = std::vector<std::vector<char>>;

Bytes RunOnce(const Repeated& repeated, int poison) {
  for (const Repeated::Written& written : repeated.written)
    Require(cudaMemset(written.data, poison, written.bytes));
  Require(repeated.run(nullptr));
  Bytes results;
  for (const Repeated::Written& written : repeated.written) {
    if (!written.result) continue;
    results.emplace_back(written.bytes);
    Require(cudaMemcpy(results.back().data(), written.data, written.bytes, cudaMemcpyDeviceToHost));
  }
  return results;
}

}  // namespace

Repetition Repeat(const Repeated& repeated, int repeats) {
  Repetition made = {repeated.name, repeats, 0};
  const Bytes first = RunOnce(repeated, 0);
  for (int i = 1; i < repeats; ++i) made.different += RunOnce(repeated, i % 256) != first;
  return made;
}

}  // namespace fslcore::bench
