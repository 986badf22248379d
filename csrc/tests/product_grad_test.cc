// SPDX-License-Identifier: MIT
// Gradients of the product metrics where sums are long, in parts, or of few rows: exactly the plain loops' on
// small integers, sentinels intact, the same bits by any number of threads.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "core/pairwise/pairwise.h"
#include "tests/inputs.h"

namespace fslcore {
namespace {

// Distances of which quotients are exact: 0, 1, 2 and 4.
std::vector<float> Distances(int64_t size) {
  const std::array<float, 4> some = {0.0f, 1.0f, 2.0f, 4.0f};
  std::vector<float> distances = Integers(size, 7);
  for (float& d : distances) d = some[static_cast<size_t>(d + 8.0f) % 4];
  return distances;
}

// d loss / d x[r, d] of one pair, and of y[c, d] with the rows exchanged.
double Term(Metric metric, double grad, double out, double own, double other) {
  if (metric == Metric::kDot) return grad * other;
  if (metric == Metric::kCosine) return -grad * other;
  if (metric == Metric::kSqeuclidean) return 2.0 * grad * (own - other);
  return out == 0.0 ? 0.0 : grad / out * (own - other);
}

void CheckGradient(Metric metric, int64_t rows, int64_t cols, int64_t dim) {
  SCOPED_TRACE(testing::Message() << kMetricNames[static_cast<size_t>(metric)] << ", " << rows << " x "
                                  << cols << ", dim " << dim);
  const auto x = Integers(rows * dim, 3), y = Integers(cols * dim, 4), grad = Integers(rows * cols, 5);
  const auto out = Distances(rows * cols);
  std::vector<double> dx(x.size()), dy(y.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      for (int64_t d = 0; d < dim; ++d) {
        const auto pair = static_cast<size_t>(r * cols + c), i = static_cast<size_t>(r * dim + d),
                   j = static_cast<size_t>(c * dim + d);
        dx[i] += Term(metric, grad[pair], out[pair], x[i], y[j]);
        dy[j] += Term(metric, grad[pair], out[pair], y[j], x[i]);
      }
  for (int threads : {1, 3}) {
    Guarded of_x(rows * dim), of_y(cols * dim);
    PairwiseGrad(Threads(threads), {metric}, {x.data(), rows, dim}, {y.data(), cols, dim}, grad.data(),
                 out.data(), {of_x.get(), of_y.get(), nullptr, nullptr});
    EXPECT_TRUE(of_x.intact() && of_y.intact());
    EXPECT_TRUE(std::equal(dx.begin(), dx.end(), of_x.get())) << threads << " threads";
    EXPECT_TRUE(std::equal(dy.begin(), dy.end(), of_y.get())) << threads << " threads";
  }
}

TEST(ProductGrad, LongSumsAndFewRows) {
  for (Metric metric : {Metric::kDot, Metric::kSqeuclidean, Metric::kEuclidean})
    for (const auto& [rows, cols, dim] : std::vector<std::array<int64_t, 3>>{
             {1, 5000, 17}, {5000, 1, 17}, {7, 1300, 70}, {1300, 7, 70}, {300, 530, 33}, {600, 270, 1}})
      CheckGradient(metric, rows, cols, dim);
}

// A pair at distance 0 has no gradient, whatever the incoming one is; a NaN elsewhere reaches both of its
// rows.
TEST(ProductGrad, NotANumber) {
  const std::vector<float> x = {1.0f, 2.0f}, y = {1.0f, 2.0f, 5.0f}, grad = {NAN, 1.0f, 1.0f, 1.0f, NAN, NAN},
                           out = {0.0f, 1.0f, 4.0f, 1.0f, 0.0f, 3.0f};
  Guarded dx(2), dy(3);
  PairwiseGrad({}, {Metric::kEuclidean}, {x.data(), 2, 1}, {y.data(), 3, 1}, grad.data(), out.data(),
               {dx.get(), dy.get(), nullptr, nullptr});
  EXPECT_EQ(dx.get()[0], -2.0f);
  EXPECT_TRUE(std::isnan(dx.get()[1]));
  EXPECT_EQ(dy.get()[0], -1.0f);
  EXPECT_EQ(dy.get()[1], 1.0f);
  EXPECT_TRUE(std::isnan(dy.get()[2]));
}

}  // namespace
}  // namespace fslcore
