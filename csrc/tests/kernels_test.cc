// SPDX-License-Identifier: MIT
// What only C++ can check: every instruction set that this CPU has, run in one process against plain loops on
// exact inputs; sentinels around every output; any number of threads gives the same bits. Build with
// sanitizers:
//   cmake -S . -B build/tests -DFSLCORE_WITH_TESTS=ON -DCMAKE_CXX_FLAGS="-fsanitize=address,undefined"
// Small integers keep every sum exact in float32 in any order, so comparisons are for equality.
#include "core/simd/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/episodes/episodes.h"
#include "core/fitting/adam_step.h"
#include "core/images/images.h"
#include "core/pairwise/pairwise.h"
#include "core/simd/cpu_level.h"
#include "core/triplets/beyond_search.h"
#include "core/triplets/negative_search.h"
#include "core/triplets/triplets.h"
#include "tests/check.h"
#include "tests/conv_test.h"

namespace fslcore {
namespace {

const std::vector<int64_t> kSizes = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 129};

// Rows of a table, in an order with repetitions.
std::vector<int32_t> Listed(int64_t count, int64_t rows) {
  std::vector<int32_t> listed(static_cast<size_t>(count));
  for (size_t i = 0; i < listed.size(); ++i)
    listed[i] = static_cast<int32_t>(i * 5 % static_cast<size_t>(rows));
  return listed;
}

void TestListedRows(const SimdKernels& simd, int64_t dim, int64_t count) {
  const int64_t rows = 7;
  const auto x = Integers(dim, 1), table = Integers(rows * dim, 2), weights = Integers(count, 3);
  const auto listed = Listed(count, rows);
  Guarded squares(count), sums(dim);
  simd.squared_distances(x.data(), table.data(), dim, listed.data(), count, squares.get());
  simd.weighted_differences(x.data(), table.data(), dim, listed.data(), weights.data(), count, sums.get());
  std::vector<float> want(x.size(), 0.0f);
  for (int64_t k = 0; k < count; ++k) {
    const auto at = static_cast<size_t>(k);
    float square = 0.0f;
    for (size_t d = 0; d < x.size(); ++d) {
      const float difference = x[d] - table[static_cast<size_t>(listed[at] * dim) + d];
      square += difference * difference;
      want[d] += weights[at] * difference;
    }
    Expect(squares.get()[k] == square, "squared_distances", dim, k);
  }
  Expect(std::equal(want.begin(), want.end(), sums.get()), "weighted_differences", dim, count);
  Expect(squares.intact() && sums.intact(), "sentinels of listed rows", dim, count);
}

// Distances 0 to 15 with NaN and infinities among them, padded with NaN.
std::vector<float> RowOfDistances(int64_t n) {
  auto row = Integers(n, 1);
  for (size_t i = 0; i < row.size(); ++i) row[i] = i % 11 == 3 ? NAN : i % 13 == 7 ? INFINITY : row[i] + 8.0f;
  row.resize(static_cast<size_t>((n + kRowPadding - 1) / kRowPadding * kRowPadding), NAN);
  return row;
}

int32_t PlainFarthest(const std::vector<float>& row) {
  int32_t farthest = -1;
  for (size_t i = 0; i < row.size(); ++i)
    if (!std::isnan(row[i]) && (farthest < 0 || row[i] > row[static_cast<size_t>(farthest)]))
      farthest = static_cast<int32_t>(i);
  return farthest;
}

int32_t PlainNearestAbove(const std::vector<float>& row, float threshold) {
  int32_t nearest = -1;
  for (size_t i = 0; i < row.size(); ++i)
    if (row[i] > threshold && (nearest < 0 || row[i] < row[static_cast<size_t>(nearest)]))
      nearest = static_cast<int32_t>(i);
  return nearest;
}

void TestSearch(const SimdKernels& simd, int64_t n) {
  const auto row = RowOfDistances(n);
  const auto padded = static_cast<int64_t>(row.size());
  Expect(simd.farthest(row.data(), padded) == PlainFarthest(row), "farthest", n, 0);
  const std::vector<float> all = {0.0f, 6.0f, 7.5f, NAN, 14.0f, 15.0f, 15.0f, 16.0f, INFINITY};
  for (size_t count = 0; count <= all.size(); ++count) {
    std::vector<int32_t> nearest(count + 1, -7);
    simd.nearest_above(row.data(), padded, all.data(), static_cast<int64_t>(count), nearest.data());
    for (size_t t = 0; t < count; ++t)
      Expect(nearest[t] == PlainNearestAbove(row, all[t]), "nearest_above", n, static_cast<int64_t>(t));
    Expect(nearest[count] == -7, "nearest_above writes no more", n, static_cast<int64_t>(count));
  }
}

void TestLevel(const SimdKernels& simd) {
  float twos = 0;
  const int64_t operations = simd.multiply_adds(100, &twos);
  Expect(operations == 100 * static_cast<int64_t>(twos) && twos > 0, "multiply_adds", operations, 0);

  for (int64_t n : kSizes) {
    const auto x = Integers(n, 1), y = Integers(n, 2);
    float dot = 0;
    for (size_t i = 0; i < x.size(); ++i) dot += x[i] * y[i];
    Expect(simd.dot(x.data(), y.data(), n) == dot, "dot", n, 0);
    TestSearch(simd, n);
    for (int64_t count : {0, 1, 3, 4, 5, 9}) TestListedRows(simd, n, count);
  }
}

// Few positives are scanned for and many are sorted: the same answers at every number of them. `spread` sets
// how many fall into one bucket: one far positive squeezes all others into the first.
void TestNegativeSearch(int64_t count, float spread) {
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
    Expect(negatives[i] == (nearest < 0 ? PlainFarthest(row) : nearest), "negative of a positive", count,
           static_cast<int64_t>(i));
  }
}

void TestPairwise(Metric metric, int64_t rows, int64_t dim) {
  const int64_t cols = rows + 3;
  const auto x = Integers(rows * dim, 3), y = Integers(cols * dim, 4), w = Integers(dim, 5),
             g = Integers(rows * cols, 6);
  PairwiseKernel kernel = {metric};
  if (metric == Metric::kWeightedManhattan) kernel = {metric, Activation::kNone, {w.data(), dim}, 2.0f};
  const Matrix<const float> mx = {x.data(), rows, dim}, my = {y.data(), cols, dim};
  std::vector<Guarded> first;
  for (int threads : {1, 2, 3}) {
    std::vector<Guarded> results = {Guarded(rows * cols), Guarded(rows * dim), Guarded(cols * dim),
                                    Guarded(dim), Guarded(1)};
    Pairwise(Threads(threads), kernel, mx, my, results[0].get());
    PairwiseGrad(Threads(threads), kernel, mx, my, g.data(), results[0].get(),
                 {results[1].get(), results[2].get(),
                  metric == Metric::kWeightedManhattan ? results[3].get() : nullptr, results[4].get()});
    for (const Guarded& result : results) Expect(result.intact(), "sentinels of pairwise", rows, dim);
    if (first.empty())
      first = results;
    else
      for (size_t i = 0; i < first.size(); ++i)
        Expect(first[i] == results[i], "threads change pairwise", static_cast<int64_t>(metric), rows);
  }
  if (metric == Metric::kCosine || metric == Metric::kEuclidean) return;  // not exact on integers
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) {
      float sum = metric == Metric::kWeightedManhattan ? 2.0f : 0.0f;
      for (int64_t d = 0; d < dim; ++d) {
        const float a = mx.row(i)[d], b = my.row(j)[d];
        if (metric == Metric::kSqeuclidean) sum += (a - b) * (a - b);
        if (metric == Metric::kDot) sum += a * b;
        if (metric == Metric::kManhattan) sum += std::fabs(a - b);
        if (metric == Metric::kWeightedManhattan) sum += w[static_cast<size_t>(d)] * std::fabs(a - b);
      }
      Expect(first[0].get()[i * cols + j] == sum, "pairwise", i, j);
    }
}

// Blocks of rows on either side of the diagonal and their mirror images give what the same rows give as a
// copy.
void TestMirroredPairwise() {
  for (int64_t rows : {127, 128, 130, 700, 1100}) {
    const auto x = Integers(rows * 3, 8);
    const std::vector<float> copy = x;
    for (Metric metric : {Metric::kSqeuclidean, Metric::kManhattan}) {
      Guarded itself(rows * rows), other(rows * rows);
      Pairwise(Threads(3), {metric}, {x.data(), rows, 3}, {x.data(), rows, 3}, itself.get());
      Pairwise(Threads(2), {metric}, {x.data(), rows, 3}, {copy.data(), rows, 3}, other.get());
      Expect(itself == other && itself.intact() && other.intact(), "y is x", rows, static_cast<int>(metric));
    }
  }
}

// 17 MB, whose rows are aligned to vectors or not: written past the caches or not.
void TestStreamedPairwise() {
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
    Expect(equal, "streamed", rows, out - aligned);
  }
}

void TestSigmoid() {
  const float zero = 0.0f;
  const auto sigmoid = [&zero](float score) {
    float out;
    Pairwise(Threads(1), {Metric::kWeightedManhattan, Activation::kSigmoid, {&zero, 1}, score}, {&zero, 1, 1},
             {&zero, 1, 1}, &out);
    return out;
  };
  Expect(sigmoid(-200.0f) < 1e-37f && sigmoid(0.0f) == 0.5f && sigmoid(200.0f) == 1.0f, "sigmoid", 0, 0);
  Expect(std::isnan(sigmoid(NAN)), "sigmoid of NaN", 0, 0);
  for (float score = -80.0f; score < 80.0f; score += 0.37f) {
    const double wanted = 1.0 / (1.0 + std::exp(-static_cast<double>(score)));
    // The exponential is good to 2 ulp, the sum and the quotient round once.
    Expect(std::fabs(sigmoid(score) - wanted) <= 4 * 0x1p-23 * wanted, "sigmoid of", static_cast<int>(score),
           0);
  }
}

void TestTriplets(Mining mining, int64_t batch, int64_t classes) {
  const int64_t dim = 5;
  const auto x = Integers(batch * dim, 7);
  std::vector<int64_t> labels(static_cast<size_t>(batch));
  for (int64_t i = 0; i < batch; ++i) labels[static_cast<size_t>(i)] = (i * 7) % classes;
  const Vector<const int64_t> given = {labels.data(), batch};
  Guarded one(batch * dim), three(batch * dim);
  const Matrix<const float> view = {x.data(), batch, dim};
  const auto a = TripletLossAndGrad(Threads(1), mining, Metric::kEuclidean, 1.0f, view, given, one.get());
  const auto b = TripletLossAndGrad(Threads(3), mining, Metric::kEuclidean, 1.0f, view, given, three.get());
  Expect(a.loss == b.loss && a.triplets == b.triplets && one == three, "threads change triplets", batch,
         classes);
  Expect(one.intact(), "sentinels of triplets", batch, classes);
  Expect(a.triplets == CountTriplets(mining, given), "triplets", a.triplets, batch);
}

// Each row with its own number of limits, at distances that many pairs have, for equals abound.
void TestBeyondSearch(int64_t batch, int64_t classes) {
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
        Expect(search.nearest(row, k) == PlainNearestAbove(others, limit), "nearest beyond", row, k);
      }
  }
}

// Whatever the incoming gradient is, pairs at distance 0 have none.
void TestGradientAtZero(Metric metric) {
  const std::vector<float> x = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f}, w(5, 1.0f), grad = {NAN}, out = {0.0f};
  PairwiseKernel kernel = {metric};
  if (metric == Metric::kWeightedManhattan) kernel.weights = {w.data(), 5};
  Guarded dx(5), dy(5);
  const Matrix<const float> row = {x.data(), 1, 5};
  PairwiseGrad({}, kernel, row, row, grad.data(), out.data(), {dx.get(), dy.get(), nullptr, nullptr});
  for (int64_t d = 0; d < 5; ++d)
    Expect(dx.get()[d] == 0.0f && dy.get()[d] == 0.0f, "gradient at distance 0", static_cast<int64_t>(metric),
           d);
}

void TestEpisodesAndImages() {
  std::vector<int64_t> labels(60);
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int64_t>(i % 6);
  const Classes classes({labels.data(), 60});
  const EpisodeShape shape = {3, 2, 4};
  Expect(CheckEpisodes(classes, shape, 100, 1, 0).empty(), "episodes check", 0, 0);
  std::vector<int32_t> all(100 * 18), late(18);
  SampleEpisodes(Threads(3), classes, shape, 100, 1, 0, all.data());
  SampleEpisodes(Threads(1), classes, shape, 1, 1, 70, late.data());
  Expect(std::equal(late.begin(), late.end(), all.begin() + 70 * 18), "episode 70 alone", 70, 0);

  std::vector<uint8_t> pixels(60 * 25);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i);
  const Images store = {pixels.data(), 60, 5, 5, 1};
  const std::vector<int64_t> turns = {0, 1, 2, 3, 0, 1};
  Guarded out(18 * 25);
  const std::vector<int64_t> picked(late.begin(), late.end());
  GatherImages(Threads(2), store, {picked.data(), 18}, {turns.data(), 6}, {}, out.get());
  Expect(out.intact(), "sentinels of images", 0, 0);
  for (int64_t i = 0; i < 18; ++i)
    for (int64_t r = 0; r < 5; ++r)
      for (int64_t c = 0; c < 5; ++c) {
        int64_t row = r, col = c;
        for (int turn = 0; turn < turns[static_cast<size_t>(i / 3)]; ++turn) {
          const int64_t old_row = row;
          row = col;
          col = 4 - old_row;
        }
        Expect(out.get()[i * 25 + r * 5 + c] ==
                   pixels[static_cast<size_t>(late[static_cast<size_t>(i)] * 25 + row * 5 + col)],
               "rotated pixel", i, r * 5 + c);
      }
}

enum class Place { kApart, kOverWeights, kOverGradients };  // of the new weights; TensorFlow may ask for any

// Gradients 0, 1, 3 and 7 whose squares are the mean already: with epsilon 1 nothing is rounded.
void TestAdamStep(int64_t n, Place place) {
  const auto weights = Integers(n, 8);
  auto gradients = Integers(n, 9);
  for (float& g : gradients) g = std::exp2(std::floor((g + 8.0f) / 4.0f)) - 1.0f;
  auto squares = gradients;
  for (float& s : squares) s *= s;

  Guarded new_weights(n), new_squares(n);
  AdamTensor tensor = {
      n, weights.data(), gradients.data(), squares.data(), new_weights.get(), new_squares.get()};
  if (place != Place::kApart) {
    const auto& source = place == Place::kOverWeights ? weights : gradients;
    (place == Place::kOverWeights ? tensor.weights : tensor.gradients) = new_weights.get();
    tensor.squares = new_squares.get();
    std::copy(source.begin(), source.end(), new_weights.get());
    std::copy(squares.begin(), squares.end(), new_squares.get());
  }
  Expect(AdamStep({0.5f, 0.75f, 0.25f, 1.0f}, {tensor}, 1.0f) == 0.75f, "power", n, 0);
  Expect(new_weights.intact() && new_squares.intact(), "sentinels of Adam", n, static_cast<int64_t>(place));
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i);
    const float want = weights[at] - 0.25f * gradients[at] / (gradients[at] + 1.0f);
    Expect(new_weights.get()[i] == want && new_squares.get()[i] == squares[at], "a step of Adam", n, i);
  }
}

int Run() {
  TestLevel(portable::kKernels);
#if defined(__x86_64__)
  if (BestCpuLevel() >= CpuLevel::kAvx2) TestLevel(avx2::kKernels);
  if (BestCpuLevel() >= CpuLevel::kAvx512) TestLevel(avx512::kKernels);
  if (BestCpuLevel() >= CpuLevel::kAvx512Bf16) TestLevel(avx512bf16::kKernels);
#endif
  for (size_t metric = 0; metric < kMetricNames.size(); ++metric)
    for (int64_t rows : kSizes)
      for (int64_t dim : {0, 1, 5, 16, 37, 64, 65, 127, 128, 129, 257})
        TestPairwise(static_cast<Metric>(metric), rows, dim);
  TestMirroredPairwise();
  TestStreamedPairwise();
  TestSigmoid();
  for (int64_t batch : kSizes)
    for (int64_t classes : {1, 2, 5, 200})
      for (Mining mining : {Mining::kSemihard, Mining::kHard}) TestTriplets(mining, batch, classes);
  TestTriplets(Mining::kSemihard, 1300, 2);
  TestTriplets(Mining::kSemihard, 1300, 400);
  for (int64_t batch : {1, 2, 15, 16, 17, 63, 64, 65, 130, 300})
    for (int64_t classes : {1, 2, 40}) TestBeyondSearch(batch, classes);
  for (Metric metric : {Metric::kManhattan, Metric::kWeightedManhattan}) TestGradientAtZero(metric);
  for (int64_t count : {0, 1, 4, 5, 95, 96, 97, 98, 500})
    for (float spread : {1.0f, 1e6f, INFINITY}) TestNegativeSearch(count, spread);
  TestEpisodesAndImages();
  for (Place place : {Place::kApart, Place::kOverWeights, Place::kOverGradients})
    for (int64_t n : kSizes) TestAdamStep(n, place);
  TestConvolutions();
  TestFits();
  std::printf("kernels at level %s: %s\n", CpuLevelName(ActiveCpuLevel()).data(),
              g_failures ? "FAILED" : "passed");
  return g_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

}  // namespace
}  // namespace fslcore

int main() { return fslcore::Run(); }
