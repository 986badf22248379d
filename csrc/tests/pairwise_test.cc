// SPDX-License-Identifier: MIT
// Pairwise matrices and their gradients: exactly the plain loops' on small integers, sentinels intact, the
// same bits by any number of threads.
#include "core/pairwise/pairwise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/inputs.h"
#include "tests/pairwise_loops.h"

namespace fslcore {
namespace {

void CheckPairwiseOf(Metric metric, int64_t rows, int64_t dim, const std::vector<int>& threads_of_calls) {
  SCOPED_TRACE(testing::Message() << kMetricNames[static_cast<size_t>(metric)] << ", rows " << rows
                                  << ", dim " << dim);
  const int64_t cols = rows + 3;
  const auto x = Integers(rows * dim, 3), y = Integers(cols * dim, 4), w = Integers(dim, 5),
             g = Integers(rows * cols, 6);
  PairwiseKernel kernel = {metric};
  if (metric == Metric::kWeightedManhattan) kernel = {metric, Activation::kNone, {w.data(), dim}, 2.0f};
  const Matrix<const float> mx = {x.data(), rows, dim}, my = {y.data(), cols, dim};
  std::vector<Guarded> first;
  for (int threads : threads_of_calls) {
    std::vector<Guarded> results = {Guarded(rows * cols), Guarded(rows * dim), Guarded(cols * dim),
                                    Guarded(dim), Guarded(1)};
    Pairwise(Threads(threads), kernel, mx, my, results[0].get());
    PairwiseGrad(Threads(threads), kernel, mx, my, g.data(), results[0].get(),
                 {results[1].get(), results[2].get(),
                  metric == Metric::kWeightedManhattan ? results[3].get() : nullptr, results[4].get()});
    for (const Guarded& result : results) EXPECT_TRUE(result.intact());
    if (first.empty())
      first = results;
    else
      for (size_t i = 0; i < first.size(); ++i)
        EXPECT_TRUE(first[i] == results[i]) << "result " << i << " by " << threads << " threads";
  }
  if (metric == Metric::kCosine || metric == Metric::kEuclidean) return;  // not exact on integers
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) {
      const double sum = SumsOfPair(metric, mx.row(i), my.row(j), dim, w.data()).sum + kernel.bias;
      EXPECT_EQ(first[0].get()[i * cols + j], sum) << "pair " << i << ", " << j;
    }
}

constexpr int64_t kDims[] = {0, 1, 5, 16, 37, 64, 65, 127, 128, 129, 257};

TEST(Pairwise, AllSizes) {
  for (Metric metric : AllMetrics())
    for (int64_t rows : EdgeSizes())
      if (rows != EdgeSizes().back())
        for (int64_t dim : kDims) CheckPairwiseOf(metric, rows, dim, {1, 3});
}

TEST(Pairwise, AllSizesOfSeveralBlocks) {  // which threads share
  for (Metric metric : AllMetrics())
    for (int64_t dim : kDims) CheckPairwiseOf(metric, EdgeSizes().back(), dim, {1, 2, 3});
}

// Threads share the rows of y where those of x are few. Pairs do not depend on what else is computed.
TEST(Pairwise, FewRowsMeetMany) {
  const int64_t dim = 200, cols = 1401, most = 49;  // three blocks of cols; 49 rows go the way of many
  const auto x = Integers(most * dim, 1), y = Integers(cols * dim, 2), w = Integers(dim, 3);
  for (Metric metric : AllMetrics()) {
    PairwiseKernel kernel = {metric};
    if (metric == Metric::kWeightedManhattan) kernel = {metric, Activation::kNone, {w.data(), dim}, 2.0f};
    Guarded all(most * cols);
    Pairwise(Threads(2), kernel, {x.data(), most, dim}, {y.data(), cols, dim}, all.get());
    for (int64_t rows : {1, 7}) {
      Guarded few(rows * cols);
      Pairwise(Threads(3), kernel, {x.data(), rows, dim}, {y.data(), cols, dim}, few.get());
      EXPECT_TRUE(few.intact());
      EXPECT_TRUE(std::equal(few.get(), few.get() + rows * cols, all.get()))
          << kMetricNames[static_cast<size_t>(metric)] << ", rows " << rows;
    }
    if (metric == Metric::kCosine || metric == Metric::kEuclidean) continue;  // not exact on integers
    for (int64_t i : {int64_t{0}, cols / 2, cols - 1})
      EXPECT_EQ(all.get()[i],
                SumsOfPair(metric, x.data(), y.data() + i * dim, dim, w.data()).sum + kernel.bias);
  }
}

// Blocks of rows on either side of the diagonal and their mirror images give what the same rows give as a
// copy.
TEST(Pairwise, MirroredWhereYIsX) {
  for (int64_t rows : {127, 128, 130, 700, 1100}) {
    const auto x = Integers(rows * 3, 8);
    const std::vector<float> copy = x;
    for (Metric metric : {Metric::kSqeuclidean, Metric::kManhattan}) {
      Guarded itself(rows * rows), other(rows * rows);
      Pairwise(Threads(3), {metric}, {x.data(), rows, 3}, {x.data(), rows, 3}, itself.get());
      Pairwise(Threads(2), {metric}, {x.data(), rows, 3}, {copy.data(), rows, 3}, other.get());
      EXPECT_TRUE(itself == other) << "rows " << rows;
      EXPECT_TRUE(itself.intact() && other.intact()) << "rows " << rows;
    }
  }
}

// 17 MB, whose rows are aligned to vectors or not: written past the caches or not.
TEST(Pairwise, StreamedOutput) {
  const int64_t rows = 2112, cols = 2048;
  const auto x = Integers(rows * 2, 9), y = Integers(cols * 2, 10);
  std::vector<float> memory(static_cast<size_t>(rows * cols) + 32);
  float* aligned = memory.data();
  while (reinterpret_cast<uintptr_t>(aligned) % 64 != 0) ++aligned;
  for (float* out : {aligned, aligned + 1}) {
    Pairwise(Threads(2), {Metric::kDot}, {x.data(), rows, 2}, {y.data(), cols, 2}, out);
    bool equal = true;
    for (int64_t i = 0; i < rows * cols; ++i) {
      const float *a = x.data() + i / cols * 2, *b = y.data() + i % cols * 2;
      equal &= out[i] == a[0] * b[0] + a[1] * b[1];
    }
    EXPECT_TRUE(equal) << "offset " << out - aligned;
  }
}

TEST(Pairwise, Sigmoid) {
  const float zero = 0.0f;
  const auto sigmoid = [&zero](float score) {
    float out;
    Pairwise(Threads(1), {Metric::kWeightedManhattan, Activation::kSigmoid, {&zero, 1}, score}, {&zero, 1, 1},
             {&zero, 1, 1}, &out);
    return out;
  };
  EXPECT_LT(sigmoid(-200.0f), 1e-37f);
  EXPECT_EQ(sigmoid(0.0f), 0.5f);
  EXPECT_EQ(sigmoid(200.0f), 1.0f);
  EXPECT_TRUE(std::isnan(sigmoid(NAN)));
  for (float score = -80.0f; score < 80.0f; score += 0.37f) {
    const double wanted = 1.0 / (1.0 + std::exp(-static_cast<double>(score)));
    // The exponential is good to 2 ulp, the sum and the quotient round once.
    EXPECT_LE(std::fabs(sigmoid(score) - wanted), 4 * 0x1p-23 * wanted) << "score " << score;
  }
}

// Pairs at distance 0 have no gradient, whatever the incoming one is.
TEST(Pairwise, GradientAtDistanceZero) {
  for (Metric metric : AllMetrics()) {
    if (IsProductMetric(metric)) continue;
    const std::vector<float> x = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f}, w(5, 1.0f), grad = {NAN}, out = {0.0f};
    PairwiseKernel kernel = {metric};
    if (metric == Metric::kWeightedManhattan) kernel.weights = {w.data(), 5};
    Guarded dx(5), dy(5);
    const Matrix<const float> row = {x.data(), 1, 5};
    PairwiseGrad({}, kernel, row, row, grad.data(), out.data(), {dx.get(), dy.get(), nullptr, nullptr});
    for (int64_t d = 0; d < 5; ++d) {
      EXPECT_EQ(dx.get()[d], 0.0f) << "d " << d;
      EXPECT_EQ(dy.get()[d], 0.0f) << "d " << d;
    }
  }
}

}  // namespace
}  // namespace fslcore
