// SPDX-License-Identifier: MIT
// Forms of the manhattan kernels of which one is chosen by the CPU or by the data: they must have the same
// bits, at every level that this CPU has.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "core/threads/cpu_state.h"
#include "tests/inputs.h"
#include "tests/levels.h"

namespace fslcore {
namespace {

class ManhattanTest : public testing::TestWithParam<Level> {
 protected:
  const simd::ManhattanKernels& kernels() const { return GetParam().kernels->manhattan; }
  int64_t panel() const { return GetParam().kernels->rows.panel; }
  const FlushDenormals flush_;
};

// Thirds round in every sum; every fourth number is one of few, so that there are ties. No -0, as pack_signs
// leaves none.
std::vector<float> Thirds(int64_t size, unsigned seed) {
  std::vector<float> values = Integers(size, seed);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = i % 4 == 0 ? std::fmod(values[i], 2.0f) + 0.0f
                           : values[i] / 3.0f + static_cast<float>(i % 101) * 1e-4f;
  return values;
}

TEST_P(ManhattanTest, MaxByAnAdditionOrByAMultiplyAdd) {
  const int64_t depth = 129, height = GetParam().kernels->rows.tile_rows;
  const std::vector<float> x = Thirds(depth, 1), y = Thirds(depth * panel(), 2);
  std::vector<float> sums[2];
  for (int form = 0; form < 2; ++form) {
    std::vector<float> tile, all(static_cast<size_t>(height * panel()), 0.125f);
    // The heights of the forms differ: every row is x.
    const int64_t rows = kernels().absolute_tile[form]({0, nullptr, nullptr, all.data()});
    for (float value : x) tile.insert(tile.end(), static_cast<size_t>(rows), value);
    EXPECT_EQ(kernels().absolute_tile[form]({depth, tile.data(), y.data(), all.data()}), rows);
    sums[form].assign(all.begin(), all.begin() + panel());
    for (int64_t r = 1; r < rows; ++r)
      EXPECT_TRUE(std::equal(all.begin(), all.begin() + panel(), all.begin() + r * panel())) << "row " << r;
  }
  EXPECT_EQ(sums[0], sums[1]);
  float first = 0.125f;
  for (size_t k = 0; k < x.size(); ++k) first += std::max(x[k], y[k * static_cast<size_t>(panel())]);
  EXPECT_EQ(sums[0][0], first);
}

struct Gradients {
  std::vector<float> dx, dy, totals;
  bool operator==(const Gradients& other) const {
    return dx == other.dx && dy == other.dy && totals == other.totals;
  }
};

TEST_P(ManhattanTest, FastGradient) {
  const int64_t most = 11;
  const std::vector<float> x = Thirds(most * panel(), 4), y = Thirds(most * panel(), 5),
                           a = Thirds(most * most, 6);
  for (int64_t rows : {0, 1, 3, 4, 5, 8, 11})
    for (int64_t cols : {0, 1, 2, 7, 8})
      for (bool first : {false, true})
        for (bool weighted : {false, true}) {
          SCOPED_TRACE(testing::Message() << rows << " x " << cols << ", first " << first);
          const auto gradients = [&](void (*kernel)(const simd::SignGradBlock&)) {
            Gradients g = {Thirds(most * panel(), 7), Thirds(most * panel(), 8), Thirds(panel(), 9)};
            kernel({rows, cols, a.data(), most, x.data(), y.data(), first, first, g.dx.data(), g.dy.data(),
                    weighted ? g.totals.data() : nullptr, nullptr, nullptr});
            return g;
          };
          const Gradients plain = gradients(kernels().sign_grad);
          EXPECT_TRUE(plain == gradients(kernels().fast_sign_grad));
          for (int64_t r = 0; first && cols > 0 && r < rows; ++r) {  // and they are right
            double sum = 0.0;
            for (int64_t c = 0; c < cols; ++c) {
              const float d = x[static_cast<size_t>(r * panel())] - y[static_cast<size_t>(c * panel())];
              sum += static_cast<double>(a[static_cast<size_t>(r * most + c)]) * ((d > 0.0f) - (d < 0.0f));
            }
            EXPECT_NEAR(plain.dx[static_cast<size_t>(r * panel())] / kernels().sign_unit, sum, 1e-4);
          }
        }
}

// What the fast form cannot do: where pack_signs lets a panel pass, it gives what the plain one gives.
TEST_P(ManhattanTest, PanelsThatAreUnfitForTheFastGradient) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (float odd :
       {nan, inf, -inf, -0.0f, 0.0f, 1e-40f, -1e-40f, 1.5e-38f, -1.25e-38f, 2e-31f, 3e38f, -3e38f}) {
    SCOPED_TRACE(odd);
    const int64_t dim = panel() - 1, rows = 9;
    std::vector<float> x = Thirds(rows * dim, 1), y = Thirds(rows * dim, 2);
    const std::vector<float> a = Thirds(rows * rows, 3);
    x[static_cast<size_t>(2 * dim + 1)] = odd;
    y[static_cast<size_t>(3 * dim + 1)] = odd;
    y[static_cast<size_t>(4 * dim + 1)] = -odd;
    y[static_cast<size_t>(5 * dim + 1)] = 1.125f * odd;
    std::vector<float> px(static_cast<size_t>(rows * panel())), py(px.size());
    const bool fit = kernels().pack_signs(x.data(), rows, dim, 0, px.data()) &
                     kernels().pack_signs(y.data(), rows, dim, 0, py.data());
    if (odd == 0.0f || std::fabs(odd) == 3e38f) {
      EXPECT_TRUE(fit) << "as is usual";
    }
    EXPECT_EQ(std::signbit(px[static_cast<size_t>(2 * panel() + 1)]), std::signbit(odd) && odd < -1e-39f);
    if (!fit) continue;
    const auto dx = [&](void (*kernel)(const simd::SignGradBlock&)) {
      std::vector<float> gradient(px.size()), other(px.size());
      kernel({rows, rows, a.data(), rows, px.data(), py.data(), true, true, gradient.data(), other.data(),
              nullptr, nullptr, nullptr});
      gradient.insert(gradient.end(), other.begin(), other.end());
      for (float& g : gradient) g = std::isnan(g) ? 12345.0f : g;
      return gradient;
    };
    EXPECT_EQ(dx(kernels().sign_grad), dx(kernels().fast_sign_grad));
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, ManhattanTest, testing::ValuesIn(Levels()),
                         [](const auto& info) { return std::string(CpuLevelName(info.param.level)); });

}  // namespace
}  // namespace fslcore
