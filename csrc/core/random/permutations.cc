// SPDX-License-Identifier: MIT
#include "core/random/permutations.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/random/philox.h"

namespace fslcore {

std::string CheckPermutationSizes(int64_t n, int64_t count, const Sizes& seed, const Sizes& first) {
  const std::string problem = FirstOf({CheckAtLeast("n", 0, n), CheckAtLeast("count", 0, count),
                                       CheckAxes("seed", seed, 0), CheckAxes("first", first, 0)});
  if (!problem.empty()) return problem;
  if (n > kMostPositions) return "n must be below 2^31, received " + std::to_string(n);
  return CheckElements("permutations", {count, n});
}

std::string CheckPermutations(int64_t seed, int64_t first) {
  return FirstOf({CheckAtLeast("seed", 0, seed), CheckAtLeast("first", 0, first)});
}

void Permutations(const Executor& executor, int64_t n, int64_t count, int64_t seed, int64_t first,
                  int32_t* out) {
  constexpr int64_t kDrawsWorthAThread = 16384;
  ParallelFor(executor, count, std::max<int64_t>(1, kDrawsWorthAThread / std::max<int64_t>(1, n)),
              [&](int64_t begin, int64_t end) {
                for (int64_t p = begin; p < end; ++p) {
                  PhiloxStream stream(static_cast<uint64_t>(seed),
                                      static_cast<uint64_t>(first) + static_cast<uint64_t>(p), 1);
                  int32_t* items = out + p * n;
                  std::iota(items, items + n, 0);
                  for (int64_t i = 0; i < n; ++i)
                    std::swap(items[i], items[i + stream.Below(static_cast<uint32_t>(n - i))]);
                }
              });
}

}  // namespace fslcore
