// SPDX-License-Identifier: MIT
// The search for the nearest rows: exactly the plain loops' on small integers, with many equal distances, by
// any number of threads; nothing is written beside the results.
#include <gtest/gtest.h>

#include "core/search/keys.h"
#include "core/search/nearest.h"
#include "tests/inputs.h"
#include "tests/search_problem.h"

namespace fslcore {
namespace {

void CheckNearestOf(Metric metric, int64_t queries, int64_t rows, int64_t dim, int64_t k) {
  SCOPED_TRACE(testing::Message() << kMetricNames[static_cast<size_t>(metric)] << ", queries " << queries
                                  << ", rows " << rows << ", dim " << dim << ", k " << k);
  auto x = Integers(queries * dim, 3), y = Integers(rows * dim, 4);
  if (rows > 5 && dim > 0) y[static_cast<size_t>(5 * dim)] = NAN;
  const Matrix<const float> mx = {x.data(), queries, dim}, my = {y.data(), rows, dim};
  const FoundRows wanted = PlainNearest(metric, mx, my, k);
  for (int threads : {1, 3}) {
    Guarded values(queries * k);
    std::vector<int32_t> indices(static_cast<size_t>(queries * k) + 1, -7);
    Nearest(Threads(threads), metric, mx, my, k, values.get(), indices.data());
    EXPECT_TRUE(values.intact());
    EXPECT_EQ(indices.back(), -7);
    indices.pop_back();
    EXPECT_EQ(indices, wanted.indices) << threads << " threads";
    EXPECT_TRUE(SameValues({values.get(), values.get() + queries * k}, wanted.values))
        << threads << " threads";
  }
}

TEST(Search, AllSizes) {
  for (Metric metric : kSearchMetrics) {
    if (metric == Metric::kCosine) continue;  // not exact on integers
    for (int64_t queries : {0, 1, 8, 9, 33})
      for (int64_t rows : {1, 6, 191, 193, 400})
        for (int64_t dim : {0, 1, 8, 37, 129})
          for (int64_t k : {int64_t{1}, std::min<int64_t>(7, rows), rows})
            CheckNearestOf(metric, queries, rows, dim, k);
  }
}

TEST(Search, AllSizesOfSeveralBlocks) {  // which threads share
  for (Metric metric : kSearchMetrics) {
    if (metric == Metric::kCosine) continue;
    for (int64_t rows : {191, 193, 400})
      for (int64_t dim : {1, 8, 37, 129})
        for (int64_t k : {int64_t{1}, int64_t{7}, rows}) CheckNearestOf(metric, 70, rows, dim, k);
  }
}

TEST(Search, MoreQueriesThanAreSearchedTogether) {
  CheckNearestOf(Metric::kSqeuclidean, 1030, 300, 4, 5);
  CheckNearestOf(Metric::kDot, 8200, 20, 2, 3);  // threads share the queries
}

TEST(Search, KeysAreInTheOrderOfValuesThenIndices) {
  const float values[] = {-INFINITY, -3.0f, -1e-40f, 0.0f, 1e-40f, 2.0f, INFINITY};
  for (bool similarity : {false, true})
    for (size_t i = 0; i < std::size(values); ++i) {
      if (!similarity && values[i] < 0.0f) continue;
      const uint64_t key = SearchKey(similarity, values[i], 9);
      EXPECT_EQ(SearchValue(similarity, key), values[i]);
      EXPECT_EQ(SearchIndex(key), 9);
      EXPECT_LT(key, SearchKey(similarity, values[i], 10));
      EXPECT_LT(key, SearchKey(similarity, NAN, 0));
      if (i + 1 < std::size(values)) {
        const bool nearer = key < SearchKey(similarity, values[i + 1], 0);
        EXPECT_NE(nearer, similarity);
      }
    }
  EXPECT_EQ(SearchKey(true, -0.0f, 3), SearchKey(true, 0.0f, 3));
  EXPECT_TRUE(std::isnan(SearchValue(true, SearchKey(true, -NAN, 3))));
  EXPECT_LT(SearchKey(false, NAN, kMostPositions), kNoKey);
}

TEST(Search, RefusesWhatDoesNotFit) {
  EXPECT_EQ(CheckNearest(Metric::kDot, 2, {5, 3}, {2, 3}), "");
  for (const auto& [metric, k, queries, rows] :
       {std::tuple{Metric::kDot, int64_t{3}, Sizes{5, 3}, Sizes{2, 3}},
        {Metric::kDot, 0, {5, 3}, {2, 3}},
        {Metric::kDot, 1, {5, 3}, {2, 4}},
        {Metric::kDot, 1, {5}, {2, 4}},
        {Metric::kWeightedManhattan, 1, {5, 3}, {2, 3}}})
    EXPECT_NE(CheckNearest(metric, k, queries, rows), "");
}

}  // namespace
}  // namespace fslcore
