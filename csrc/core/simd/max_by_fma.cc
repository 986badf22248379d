// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <cstdint>

#include "core/arrays/scratch.h"
#include "core/simd/manhattan_kernels.h"
#include "core/simd/row_kernels.h"
#include "core/threads/cpu_state.h"

namespace fslcore::simd {
namespace {

constexpr int kRounds = 250;     // CPUs reach the full rate of multiply-adds only after a millisecond or two
constexpr int kTiles = 16;       // of a round: some microseconds, long beside the resolution of the clock
constexpr int64_t kDepth = 128;  // the operands stay in the L1 cache

// The rounds of both forms alternate, and the best of each counts: what else runs on the machine can only
// make rounds longer. A difference below a twentieth is none.
bool FmaIsFaster() {
  const FlushDenormals flush;
  const int64_t panel = Rows().panel, height = Rows().tile_rows;
  const Scratch<float> x(kDepth * height), y(kDepth * panel), sums(height * panel);
  std::fill(x.get(), x.get() + kDepth * height, 1.0f);
  std::fill(y.get(), y.get() + kDepth * panel, 2.0f);
  std::fill(sums.get(), sums.get() + height * panel, 0.0f);
  double best[2] = {1e9, 1e9};
  for (int round = 0; round < kRounds; ++round)
    for (int form = 0; form < 2; ++form) {
      const auto start = std::chrono::steady_clock::now();
      int64_t rows = 0;
      for (int tile = 0; tile < kTiles; ++tile)
        rows += Manhattan().absolute_tile[form]({kDepth, x.get(), y.get(), sums.get()});
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      best[form] = std::min(best[form], seconds.count() / static_cast<double>(rows));
    }
  return best[1] < 0.95 * best[0];
}

}  // namespace

bool MaxByFma() {
  static const bool faster = FmaIsFaster();
  return faster;
}

}  // namespace fslcore::simd
