// SPDX-License-Identifier: MIT
// Mining and the triplet loss: against plain loops on exact inputs, full of ties, and by any number of
// threads.
#include "core/triplets/triplets.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/pairwise/pairwise.h"
#include "core/triplets/beyond_search.h"
#include "core/triplets/negative_search.h"
#include "tests/distance_rows.h"
#include "tests/inputs.h"
#include "tests/triplet_loops.h"

namespace fslcore {
namespace {

void CheckTripletLoss(Mining mining, int64_t batch, int64_t classes) {
  SCOPED_TRACE(testing::Message() << "mining " << static_cast<int>(mining) << ", batch " << batch
                                  << ", classes " << classes);
  const int64_t dim = 5;
  const auto x = Integers(batch * dim, 7);
  std::vector<int64_t> labels(static_cast<size_t>(batch));
  for (int64_t i = 0; i < batch; ++i) labels[static_cast<size_t>(i)] = (i * 7) % classes;
  const Vector<const int64_t> given = {labels.data(), batch};
  Guarded one(batch * dim), three(batch * dim);
  const Matrix<const float> view = {x.data(), batch, dim};
  const auto a = TripletLossAndGrad(Threads(1), mining, Metric::kEuclidean, 1.0f, view, given, one.get());
  const auto b = TripletLossAndGrad(Threads(3), mining, Metric::kEuclidean, 1.0f, view, given, three.get());
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.triplets, b.triplets);
  EXPECT_TRUE(one == three);
  EXPECT_TRUE(one.intact());
  EXPECT_EQ(a.triplets, CountTriplets(mining, given));
}

TEST(Triplets, ThreadsDoNotChangeTheLoss) {
  for (int64_t batch : EdgeSizes())
    for (int64_t classes : {1, 2, 5, 200})
      for (Mining mining : Minings()) CheckTripletLoss(mining, batch, classes);
  CheckTripletLoss(Mining::kSemihard, 1300, 2);
  CheckTripletLoss(Mining::kSemihard, 1300, 400);
}

// Each row with its own number of limits, at distances that many pairs have: ties abound.
void CheckBeyondSearch(int64_t batch, int64_t classes) {
  SCOPED_TRACE(testing::Message() << "batch " << batch << ", classes " << classes);
  const int64_t dim = 3, most = 5;
  auto x = Integers(batch * dim, 11);
  if (batch > 20) x[static_cast<size_t>(20 * dim)] = NAN;
  std::vector<int32_t> class_of(static_cast<size_t>(batch));
  for (int64_t i = 0; i < batch; ++i)
    class_of[static_cast<size_t>(i)] = static_cast<int32_t>(i * 7 % classes);
  const float limits[most] = {0.0f, 40.0f, NAN, 3.0f, INFINITY};
  const Matrix<const float> view = {x.data(), batch, dim};
  std::vector<float> distances(static_cast<size_t>(batch * batch));
  Pairwise({}, {}, view, view, distances.data());
  for (int threads : {1, 3}) {
    BeyondSearch search(batch, most);
    for (int64_t row = 0; row < batch; ++row)
      for (int64_t k = 0; k < row % (most + 1); ++k)
        if ((row + k) % 4 == 0)
          search.AddNoLimit(row);
        else
          search.AddLimit(row, limits[k]);
    search.Run(Threads(threads), PairwiseParts({}, {}, view, view), class_of.data());
    for (int64_t row = 0; row < batch; ++row)
      for (int64_t k = 0; k < row % (most + 1); ++k) {
        std::vector<float> others(distances.begin() + row * batch, distances.begin() + (row + 1) * batch);
        for (size_t i = 0; i < others.size(); ++i)
          if (class_of[i] == class_of[static_cast<size_t>(row)]) others[i] = NAN;
        const float limit = (row + k) % 4 == 0 ? -1.0f : limits[k];
        EXPECT_EQ(search.nearest(row, k), PlainNearestAbove(others, limit))
            << "row " << row << ", limit " << k;
      }
  }
}

TEST(Triplets, BeyondSearchIsThatOfPlainLoops) {
  for (int64_t batch : {1, 2, 15, 16, 17, 63, 64, 65, 130, 300})
    for (int64_t classes : {1, 2, 40}) CheckBeyondSearch(batch, classes);
}

// Few positives are scanned for and many are sorted: the same answers at every number of them. `spread` sets
// how many fall into one bucket: one far positive squeezes all others into the first.
void CheckNegativeSearch(int64_t count, float spread) {
  SCOPED_TRACE(testing::Message() << "count " << count << ", spread " << spread);
  const auto row = RowOfDistances(300);
  auto positives = Integers(count, 9);
  for (size_t i = 0; i < positives.size(); ++i)
    positives[i] = i % 17 == 5 ? NAN : (positives[i] + 8.0f) * (i % 3 == 0 ? 0.5f : 1.0f);
  if (count > 0) positives.back() *= spread;
  std::vector<int32_t> negatives(positives.size());
  NegativeSearch search;
  search.Find(row.data(), static_cast<int64_t>(row.size()), positives.data(), count, negatives.data());
  for (size_t i = 0; i < positives.size(); ++i) {
    const int32_t nearest = PlainNearestAbove(row, positives[i]);
    EXPECT_EQ(negatives[i], nearest < 0 ? PlainFarthest(row) : nearest) << "positive " << i;
  }
}

TEST(Triplets, NegativeSearchIsThatOfPlainLoops) {
  for (int64_t count : {0, 1, 4, 5, 95, 96, 97, 98, 500})
    for (float spread : {1.0f, 1e6f, INFINITY}) CheckNegativeSearch(count, spread);
}

}  // namespace
}  // namespace fslcore
