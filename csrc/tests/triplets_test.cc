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

// Few positives are scanned for, many by buckets of the distances: the same answers at every number of them,
// with few and many distances in a bucket. `spread` makes one positive a far one.
void CheckNegativeSearch(const std::vector<float>& row, int64_t count, float spread) {
  SCOPED_TRACE(testing::Message() << "row " << row.size() << ", count " << count << ", spread " << spread);
  auto positives = Integers(count, 9);
  for (size_t i = 0; i < positives.size(); ++i)
    positives[i] = i % 17 == 5   ? NAN
                   : i % 17 == 6 ? row[i % row.size()]
                                 : (positives[i] + 8.0f) * (i % 3 == 0 ? 0.53f : 1.0f);
  if (count > 0) positives.back() *= spread;
  std::vector<int32_t> negatives(positives.size());
  NegativeSearch search;
  for (int again : {0, 1}) {  // what the first left behind does not matter
    search.Find(row.data(), static_cast<int64_t>(row.size()), positives.data(), count, negatives.data());
    for (size_t i = 0; i < positives.size(); ++i) {
      const int32_t nearest = PlainNearestAbove(row, positives[i]);
      EXPECT_EQ(negatives[i], nearest < 0 ? PlainFarthest(row) : nearest)
          << "positive " << i << ", call " << again;
    }
  }
}

TEST(Triplets, NegativeSearchIsThatOfPlainLoops) {
  std::vector<std::vector<float>> rows = {RowOfDistances(16), RowOfDistances(300), RowOfDistances(3000)};
  rows.push_back(rows.back());
  for (size_t i = 0; i < rows.back().size(); ++i)  // nearly all different
    rows.back()[i] += static_cast<float>(i * 7919 % 3000) / 3000.0f;
  rows.push_back(std::vector<float>(64, 100.0f));  // all are beyond all positives
  rows.push_back(std::vector<float>(64, NAN));
  for (const auto& row : rows)
    for (int64_t count : {0, 1, 4, 5, 47, 48, 49, 50, 500})
      for (float spread : {1.0f, 0.0f, 1e6f, INFINITY}) CheckNegativeSearch(row, count, spread);
  std::vector<float> nothing(60, NAN);
  std::vector<int32_t> negatives(60);
  NegativeSearch().Find(rows[1].data(), static_cast<int64_t>(rows[1].size()), nothing.data(), 60,
                        negatives.data());
  for (int32_t negative : negatives) EXPECT_EQ(negative, PlainFarthest(rows[1]));
}

// Some classes are dense, some are lists; the triplets are those that are mined.
TEST(Triplets, LossOfLargeClassesIsThatOfPlainLoops) {
  for (Metric metric : kTripletMetrics)
    for (int64_t dim : {1, 19, 128}) {
      SCOPED_TRACE(testing::Message() << "metric " << static_cast<int>(metric) << ", dim " << dim);
      Sample sample = {170, dim, Integers(170 * dim, 5), {}};
      for (int64_t i = 0; i < 170; ++i) sample.labels.push_back(i < 40 ? i % 13 : i % 3 + 20);
      const auto count = static_cast<size_t>(CountTriplets(Mining::kSemihard, sample.given()));
      Lists lists = {std::vector<int32_t>(count), std::vector<int32_t>(count), std::vector<int32_t>(count)};
      MineTriplets({}, Mining::kSemihard, metric, sample.view(), sample.given(), lists.anchor.data(),
                   lists.positive.data(), lists.negative.data());
      const float margin = 0.25f;
      const Reference want = ByLoops(metric, sample).Evaluate(lists, margin);
      Guarded grad(170 * dim);
      const TripletLoss loss = TripletLossAndGrad(Threads(2), Mining::kSemihard, metric, margin,
                                                  sample.view(), sample.given(), grad.get());
      EXPECT_TRUE(grad.intact());
      // A distance is a sum of dim terms, and an entry of the gradient one over three lists of edges.
      const double allowed = static_cast<double>(dim + 3 * 170) * 0x1p-23;
      EXPECT_NEAR(loss.loss, want.loss, allowed * want.size);
      for (size_t i = 0; i < want.grad.size(); ++i)
        EXPECT_NEAR(grad.get()[i], want.grad[i], allowed * want.sizes[i]) << "entry " << i;
    }
}

// The distance is infinite and its slope 0: the row is left out, whatever the size of the class.
TEST(Triplets, AHugeRowLeavesGradientsFinite) {
  for (float huge : {1e25f, INFINITY, NAN})
    for (int64_t per_class : {3, 40}) {
      const int64_t batch = 2 * per_class, dim = 17;
      auto x = Integers(batch * dim, 3);
      x[0] = huge;
      std::vector<int64_t> labels;
      for (int64_t i = 0; i < batch; ++i) labels.push_back(i % 2);
      std::vector<float> grad(x.size());
      TripletLossAndGrad({}, Mining::kSemihard, Metric::kEuclidean, 1.0f, {x.data(), batch, dim},
                         {labels.data(), batch}, grad.data());
      // A NaN has triplets with its own class, and with the first row of the other for want of a nearest one.
      for (size_t i = static_cast<size_t>(dim); i < grad.size(); ++i)
        EXPECT_EQ(std::isnan(grad[i]), std::isnan(huge) && (labels[i / 17] == 0 || i / 17 == 1))
            << "huge " << huge << ", " << per_class << " per class, entry " << i;
    }
}

}  // namespace
}  // namespace fslcore
