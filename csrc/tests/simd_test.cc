// SPDX-License-Identifier: MIT
// What only C++ can check: every instruction set that this CPU has, run in one process against plain loops on
// exact inputs; sentinels around every output; any number of threads gives the same bits. Build with
// sanitizers, and run at each FSLCORE_SIMD level:
//   cmake -S . -B build/tests -DFSLCORE_WITH_TESTS=ON -DCMAKE_CXX_FLAGS="-fsanitize=address,undefined"
// Small integers keep every sum exact in float32 in any order, so comparisons are for equality.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "tests/distance_rows.h"
#include "tests/inputs.h"
#include "tests/levels.h"

namespace fslcore {
namespace {

class SimdTest : public testing::TestWithParam<Level> {
 protected:
  const simd::Kernels& kernels() const { return *GetParam().kernels; }
};

TEST_P(SimdTest, MultiplyAdds) {
  float twos = 0;
  const int64_t operations = kernels().limits.multiply_adds(100, &twos);
  EXPECT_EQ(operations, 100 * static_cast<int64_t>(twos));
  EXPECT_GT(twos, 0);
}

TEST_P(SimdTest, Dot) {
  for (int64_t n : EdgeSizes()) {
    const auto x = Integers(n, 1), y = Integers(n, 2);
    float dot = 0;
    for (size_t i = 0; i < x.size(); ++i) dot += x[i] * y[i];
    EXPECT_EQ(kernels().rows.dot(x.data(), y.data(), n), dot) << "n " << n;
  }
}

TEST_P(SimdTest, SearchesInRows) {
  for (int64_t n : EdgeSizes()) {
    SCOPED_TRACE(n);
    const auto row = RowOfDistances(n);
    const auto padded = static_cast<int64_t>(row.size());
    EXPECT_EQ(kernels().triplets.farthest(row.data(), padded), PlainFarthest(row));
    const std::vector<float> all = {0.0f, 6.0f, 7.5f, NAN, 14.0f, 15.0f, 15.0f, 16.0f, INFINITY};
    for (size_t count = 0; count <= all.size(); ++count) {
      std::vector<int32_t> nearest(count + 1, -7);
      kernels().triplets.nearest_above(row.data(), padded, all.data(), static_cast<int64_t>(count),
                                       nearest.data());
      for (size_t t = 0; t < count; ++t) EXPECT_EQ(nearest[t], PlainNearestAbove(row, all[t])) << "t " << t;
      EXPECT_EQ(nearest[count], -7) << "nearest_above writes past its " << count << " results";
    }
  }
}

TEST_P(SimdTest, ListedRows) {
  const int64_t rows = 7;
  for (int64_t dim : EdgeSizes())
    for (int64_t count : {0, 1, 3, 4, 5, 9}) {
      SCOPED_TRACE(testing::Message() << "dim " << dim << ", count " << count);
      const auto x = Integers(dim, 1), table = Integers(rows * dim, 2), weights = Integers(count, 3);
      std::vector<int32_t> listed(static_cast<size_t>(count));  // in an order with repetitions
      for (size_t i = 0; i < listed.size(); ++i)
        listed[i] = static_cast<int32_t>(i * 5 % static_cast<size_t>(rows));
      Guarded squares(count), sums(dim);
      kernels().triplets.squared_distances(x.data(), table.data(), dim, listed.data(), count, squares.get());
      kernels().triplets.weighted_differences(x.data(), table.data(), dim, listed.data(), weights.data(),
                                              count, sums.get());
      std::vector<float> want(x.size(), 0.0f);
      for (int64_t k = 0; k < count; ++k) {
        const auto at = static_cast<size_t>(k);
        float square = 0.0f;
        for (size_t d = 0; d < x.size(); ++d) {
          const float difference = x[d] - table[static_cast<size_t>(listed[at] * dim) + d];
          square += difference * difference;
          want[d] += weights[at] * difference;
        }
        EXPECT_EQ(squares.get()[k], square) << "k " << k;
      }
      EXPECT_TRUE(std::equal(want.begin(), want.end(), sums.get()));
      EXPECT_TRUE(squares.intact() && sums.intact());
    }
}

TEST_P(SimdTest, DenseRows) {
  const int64_t panel = kernels().rows.panel;
  for (int64_t dim : EdgeSizes())
    for (int64_t rows : {0, 1, 5, 6, 7, 13})
      for (int64_t count : {0, 1, 9}) {
        SCOPED_TRACE(testing::Message() << "dim " << dim << ", rows " << rows << ", count " << count);
        const int64_t stride = count + 3;
        const auto x = Integers(rows * dim, 1), others = Integers(count * dim, 2),
                   weights = Integers(rows * stride, 3);
        std::vector<float> panels(static_cast<size_t>((dim + panel) * count));
        for (int64_t d = 0; d < dim; d += panel)
          kernels().rows.pack_columns(others.data(), count, dim, d, panels.data() + d * count);
        Guarded squares(rows * stride), sums(rows * dim);
        kernels().triplets.dense_squares(x.data(), rows, others.data(), count, dim, squares.get(), stride);
        kernels().triplets.dense_differences(x.data(), rows, dim, panels.data(), count, weights.data(),
                                             stride, sums.get());
        EXPECT_TRUE(squares.intact() && sums.intact());
        for (int64_t r = 0; r < rows; ++r) {
          std::vector<float> want(static_cast<size_t>(dim), 0.0f);
          for (int64_t k = 0; k < stride; ++k) {
            float square = 0.0f;
            for (int64_t d = 0; k < count && d < dim; ++d) {
              const float difference =
                  x[static_cast<size_t>(r * dim + d)] - others[static_cast<size_t>(k * dim + d)];
              square += difference * difference;
              want[static_cast<size_t>(d)] += weights[static_cast<size_t>(r * stride + k)] * difference;
            }
            EXPECT_EQ(squares.get()[r * stride + k], k < count ? square : kSentinel);
          }
          EXPECT_TRUE(std::equal(want.begin(), want.end(), sums.get() + r * dim));
        }
      }
}

// A kernel that is declared and not entered into its table is a null pointer.
TEST_P(SimdTest, TablesAreFilled) {
  uintptr_t entries[sizeof(simd::Kernels) / sizeof(uintptr_t)];
  static_assert(sizeof entries == sizeof(simd::Kernels));
  std::memcpy(entries, &kernels(), sizeof entries);
  for (size_t i = 0; i < std::size(entries); ++i) EXPECT_NE(entries[i], 0u) << "entry " << i;
}

INSTANTIATE_TEST_SUITE_P(Levels, SimdTest, testing::ValuesIn(Levels()),
                         [](const auto& info) { return std::string(CpuLevelName(info.param.level)); });

// All other tests run at this level.
TEST(CpuLevel, IsTheOneAskedForIfThisCpuHasIt) {
  const char* asked = std::getenv("FSLCORE_SIMD");
  CpuLevel wanted = BestCpuLevel();
  for (const Level& level : Levels())
    if (asked && CpuLevelName(level.level) == asked) wanted = level.level;
  EXPECT_EQ(CpuLevelName(ActiveCpuLevel()), CpuLevelName(wanted));
}

}  // namespace
}  // namespace fslcore
