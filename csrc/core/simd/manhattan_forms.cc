// SPDX-License-Identifier: MIT
#include "core/simd/manhattan_forms.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "core/arrays/scratch.h"
#include "core/simd/manhattan_kernels.h"
#include "core/simd/row_kernels.h"
#include "core/threads/cpu_state.h"

namespace fslcore::simd {
namespace {

constexpr int kRounds = 7;
constexpr int kCalls = 8;        // of a round: ten microseconds, long beside the resolution of the clock
constexpr int64_t kLength = 96;  // of a block, whose operands stay in the L1 cache

// Whether the second form takes less time. The rounds of both alternate, and the best of each counts: what
// else runs on the machine can only make rounds longer. A difference below a twentieth is none.
template <class Block>
bool SecondIsFaster(void (*const forms[2])(const Block&), const Block& block) {
  double best[2] = {1e9, 1e9};
  for (int round = 0; round < kRounds; ++round)
    for (int form = 0; form < 2; ++form) {
      const auto start = std::chrono::steady_clock::now();
      for (int call = 0; call < kCalls; ++call) forms[form](block);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      best[form] = std::min(best[form], seconds.count());
    }
  return best[1] < 0.95 * best[0];
}

ManhattanForms Measured() {
  const FlushDenormals flush;
  const int64_t panel = Rows().panel, floats = kLength * (panel + Rows().tile_rows);
  // Ordinary numbers of either order.
  const Scratch<float> x(floats), y(floats), sums(kLength * panel), dx(floats), dy(floats);
  for (int64_t i = 0; i < floats; ++i) {
    x[i] = 1.0f + static_cast<float>(i * 7 % 11);
    y[i] = 1.0f + static_cast<float>(i * 5 % 13);
  }
  std::fill(sums.get(), sums.get() + kLength * panel, 0.0f);
  SignGradBlock signs = {};
  signs.rows = 2 * Rows().tile_rows;
  signs.cols = kLength;
  signs.a = x.get();
  signs.a_stride = signs.cols;
  signs.x_panel = x.get();
  signs.y_panel = y.get();
  signs.first_of_dx = signs.first_of_dy = true;
  signs.dx = dx.get();
  signs.dy = dy.get();
  return {SecondIsFaster(Manhattan().absolute_tile, {kLength, x.get(), y.get(), sums.get()}),
          SecondIsFaster(Manhattan().fast_sign_grad, signs)};
}

}  // namespace

const ManhattanForms& FastestManhattanForms() {
  static const ManhattanForms forms = Measured();
  return forms;
}

}  // namespace fslcore::simd
