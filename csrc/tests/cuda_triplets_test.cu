// SPDX-License-Identifier: MIT
// Triplets on a GPU against the core: exactly on small integers, where nothing is rounded and ties abound.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tests/cuda_checks.h"
#include "tests/cuda_triplets_problem.h"

namespace fslcore {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The stand-in is slow: each of its three schedules takes every third case.
int g_case = 0;  // counted from the start of the test
bool IsTurn() {
#if defined(FSLCORE_CUDA_ON_CPU)
  return ++g_case % 3 == static_cast<int>(cuda_on_cpu::schedule);
#else
  return true;
#endif
}

// The first `room` of the triplets, which must all be there.
void CheckMined(Mining mining, Metric metric, const Sample& sample, int64_t less_room, const char* what) {
  if (!IsTurn()) return;
  const TripletsOnDevice device(mining, metric, sample);
  const DeviceArray<char> workspace(cuda::MineTripletsWorkspace(device.batch()));
  const DeviceArray<int64_t> triplets(1);
  Lists want = MinedByCore(mining, metric, sample);
  const auto all = static_cast<int64_t>(want.anchor.size());
  std::string problem = cuda::CountTriplets(nullptr, device.batch(), workspace.get(), triplets.get());
  Expect(problem.empty() && triplets.values()[0] == all, "number of triplets", triplets.values()[0], all);

  const int64_t room = std::max<int64_t>(0, all - less_room);
  const DeviceArray<int32_t> anchor(room), positive(room), negative(room);
  problem = cuda::MineTriplets(nullptr, device.batch(), workspace.get(), room, anchor.get(), positive.get(),
                               negative.get());
  for (auto* list : {&want.anchor, &want.positive, &want.negative}) list->resize(static_cast<size_t>(room));
  Expect(problem.empty() && workspace.intact() && anchor.intact() && positive.intact() && negative.intact(),
         "sentinels of mining", sample.rows, sample.dim);
  Expect(anchor.values() == want.anchor && positive.values() == want.positive &&
             negative.values() == want.negative,
         what, sample.rows, sample.dim);
}

constexpr double kEpsilon = 1.0 / (1 << 24);

// Sums of squares round dim + 2 times and have another three or four roundings before them; chains of edges
// are at most two rounds' limits and the rows of a tile long.
double Tolerance(const Sample& sample) { return (static_cast<double>(sample.dim) + 6.0 + 300.0) * kEpsilon; }

// The loss and the gradient of a batch of finite numbers.
void CheckLoss(Mining mining, Metric metric, float margin, const Sample& sample, const char* what) {
  if (!IsTurn()) return;
  const LossAndGrad got = ByDevice(mining, metric, margin, sample);
  Expect(SameBits(got, ByDeviceAgain(mining, metric, margin, sample)), "the order changes the loss",
         sample.rows, sample.dim);
  const Lists lists = MinedByDevice(mining, metric, sample);
  const Reference want = ByLoops(metric, sample).Evaluate(lists, margin);
  Expect(got.triplets == static_cast<int64_t>(lists.anchor.size()), "triplets of the loss", got.triplets,
         sample.rows);
  Expect(std::fabs(got.loss - want.loss) <= Tolerance(sample) * want.size, what, sample.rows, sample.dim);
  double largest = 0.0;
  for (float v : sample.x) largest = std::max(largest, std::fabs(static_cast<double>(v)));
  if (metric != Metric::kSqeuclidean) largest = 1.0;
  for (size_t i = 0; i < got.grad.size(); ++i) {
    const double allowed = Tolerance(sample) * want.sizes[i] + largest * 1e-10;  // the unit of the sums
    Expect(std::fabs(got.grad[i] - want.grad[i]) <= allowed, what, sample.rows, static_cast<int64_t>(i));
  }
}

// Where selection is not rounded the core has the same triplets, hence the same sums but for their order.
void CheckAgainstCore(Mining mining, Metric metric, float margin, const Sample& sample, const char* what) {
  if (!IsTurn()) return;
  const LossAndGrad got = ByDevice(mining, metric, margin, sample);
  const LossAndGrad want = ByCore(mining, metric, margin, sample);
  Expect(got.triplets == want.triplets, "triplets of the loss and of the core", got.triplets, want.triplets);
  const bool both = std::isnan(got.loss) && std::isnan(want.loss);
  Expect(both || got.loss == want.loss || std::fabs(got.loss - want.loss) <= 1e-5f * std::fabs(want.loss),
         what, sample.rows, sample.dim);
  const auto dim = static_cast<size_t>(sample.dim);
  for (size_t row = 0; row < static_cast<size_t>(sample.rows); ++row) {
    const float* g = got.grad.data() + row * dim;
    const float* w = want.grad.data() + row * dim;
    const bool spoilt = std::any_of(w, w + dim, [](float v) { return !std::isfinite(v); });
    for (size_t d = 0; d < dim; ++d)
      Expect(std::isnan(g[d]) == spoilt, "all of a row that is not finite", sample.rows,
             static_cast<int64_t>(row));
  }
}

const std::vector<Mining> kMinings = Minings();

// One rule after the other.
Mining RuleOfTurn(int turn) { return kMinings[static_cast<size_t>(turn) % kMinings.size()]; }

// Batches of small integers, which are full of ties and of equal rows: two numbers of classes for each size,
// and one rule of mining after the other.
void TestMined() {
  int turn = 0;
  for (int64_t rows : {0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130})
    for (int64_t classes : {int64_t{1}, int64_t{2}, int64_t{5}, rows / 4, rows}) {
      if (rows > 3 && ++turn % 5 >= 3) continue;
      const auto seed = static_cast<unsigned>(rows + classes);
      const Metric metric = turn % 4 < 2 ? Metric::kEuclidean : Metric::kSqeuclidean;
      const Sample sample = OfIntegers(rows, turn % 3 == 0 ? 2 : 5, classes, seed);
      CheckMined(RuleOfTurn(turn), metric, sample, rows % 3, "small batches");
    }
  for (int64_t classes : {2, 64, 257}) {
    const Sample sample = OfIntegers(257, 20, classes, 4);
    CheckMined(Mining::kSemihard, Metric::kEuclidean, sample, 0, "pairs of 257 rows");
    for (Mining mining : kMinings)
      if (!IsOfPairs(mining)) CheckMined(mining, Metric::kSqeuclidean, sample, 0, "anchors of 257 rows");
  }
  CheckMined(Mining::kSemihard, Metric::kSqeuclidean, OfIntegers(400, 17, 5, 8), 0, "triplets of 400 rows");
}

void TestLosses() {
  int turn = 0;
  for (int64_t rows : {0, 1, 33, 65, 129})
    for (int64_t classes : {int64_t{2}, rows / 4})
      for (Metric metric : {Metric::kSqeuclidean, Metric::kEuclidean, Metric::kCosine}) {
        ++turn;
        if (rows > 65 && classes == 2) continue;
        const Mining mining = RuleOfTurn(turn / 2);
        const Sample sample = OfIntegers(rows, 3 + rows % 31, classes, static_cast<unsigned>(rows));
        const float margin = turn % 2 == 0 ? 0.731f : -0.3f;
        CheckLoss(mining, metric, margin, sample, "loss against loops");
        if (metric != Metric::kCosine) CheckAgainstCore(mining, metric, margin, sample, "loss of the core");
      }
}

// Classes of very different sizes beside each other in a tile, one of which takes two rounds; margins;
// scales.
void TestUneven() {
  Sample sample = OfIntegers(250, 5, 1, 3);
  for (size_t i = 0; i < sample.labels.size(); ++i) {
    sample.labels[i] = i % 11 == 0 ? INT64_MIN : i % 5 == 0 ? INT64_MAX : static_cast<int64_t>(i / 6);
    if (i % 2 == 0) sample.labels[i] = 7;
  }
  for (Mining mining : kMinings) CheckMined(mining, Metric::kSqeuclidean, sample, 0, "uneven classes");
  CheckLoss(Mining::kSemihard, Metric::kSqeuclidean, 1.0f, sample, "loss of uneven classes");

  sample = OfIntegers(70, 5, 9, 3);
  const std::vector<float> plain = sample.x;
  for (float margin : {0.0f, 1e4f, -1e4f})
    CheckLoss(Mining::kSemihard, Metric::kEuclidean, margin, sample, "margins");
  // Squares overflow at the last of them.
  for (float scale : {std::ldexp(1.0f, 58), std::ldexp(1.0f, -58), std::ldexp(1.0f, 62)}) {
    sample.x = Scaled(plain, scale);
    for (Mining mining : kMinings) CheckMined(mining, Metric::kEuclidean, sample, 0, "scaled");
    CheckAgainstCore(Mining::kSemihard, Metric::kSqeuclidean, 1.0f, sample, "scaled loss of the core");
    if (scale > 1e18f) continue;
    CheckLoss(Mining::kSemihard, Metric::kEuclidean, scale, sample, "loss of scaled rows");
    for (Mining mining : kMinings)
      if (!IsOfPairs(mining)) CheckLoss(mining, Metric::kCosine, 0.5f, sample, "loss of scaled rows");
  }
}

// Rows that are near each other, all or some of them: their distances are sums of differences.
void TestNear() {
  for (int64_t classes : {2, 30, 70}) {
    Sample sample = OfIntegers(classes == 2 ? 70 : 140, 5, classes, 9);
    for (size_t i = 0; i < sample.x.size(); ++i)
      sample.x[i] += i / 5 % 3 != 0 || classes > 60 ? 1000.0f : 0.0f;
    CheckMined(Mining::kSemihard, Metric::kSqeuclidean, sample, 0, "near rows");
    for (Mining mining : kMinings)
      if (!IsOfPairs(mining)) CheckMined(mining, Metric::kEuclidean, sample, 0, "near rows");
    std::fill(sample.x.begin(), sample.x.end(), 3.0f);
    for (Mining mining : kMinings) {
      CheckMined(mining, Metric::kCosine, sample, 0, "equal rows");
      CheckLoss(mining, Metric::kEuclidean, 1.0f, sample, "loss of equal rows");
    }
  }
}

// NaN and infinity, in rows with and without positives; zero rows.
void TestSpecialRows() {
  int turn = 0;
  for (int64_t classes : {2, 30})
    for (float special : {kNaN, -kInfinity, 0.0f}) {
      Sample sample = OfIntegers(66, 5, classes, 21);
      for (int64_t row : {0, 1, 30, 65}) {
        const auto at = static_cast<size_t>(row * 5);
        if (special == 0.0f) std::fill_n(sample.x.begin() + row * 5, 5, 0.0f);
        sample.x[at + static_cast<size_t>(row % 5)] = special;
      }
      for (Metric metric : {Metric::kSqeuclidean, Metric::kEuclidean, Metric::kCosine}) {
        const Mining mining = RuleOfTurn(++turn);
        if (metric == Metric::kEuclidean) CheckMined(mining, metric, sample, 0, "special rows");
        if (special != 0.0f)
          CheckAgainstCore(mining, metric, 1.0f, sample, "loss of special rows");
        else if (metric != Metric::kEuclidean)
          CheckLoss(mining, metric, 1.0f, sample, "loss of zero rows");
      }
    }
  Sample lost = OfIntegers(40, 3, 6, 2);
  std::fill(lost.x.begin(), lost.x.end(), kNaN);
  for (Mining mining : kMinings) CheckMined(mining, Metric::kEuclidean, lost, 0, "nothing but NaN");
}

// Padding is no row, whatever it holds.
void TestPadding() {
  int turn = 0;
  for (int64_t padding : {1, 66, 130})
    for (int64_t classes : {2, 50}) {
      Sample sample = OfIntegers(130, 6, classes, 5);
      sample.padding = padding;
      std::fill(sample.x.end() - padding * sample.dim, sample.x.end(), padding % 2 == 0 ? kNaN : 1.0f);
      sample.labels[3] = INT64_MAX;
      const Mining mining = RuleOfTurn(++turn);
      CheckMined(mining, Metric::kSqeuclidean, sample, 1, "padded");
      CheckAgainstCore(mining, Metric::kEuclidean, 1.0f, sample, "padded loss");
      if (!IsTurn()) continue;
      const LossAndGrad got = ByDevice(mining, Metric::kCosine, 1.0f, sample);
      for (auto g = got.grad.end() - padding * sample.dim; g != got.grad.end(); ++g)
        Expect(*g == 0.0f, "gradient of padding", padding, classes);
    }
}

// Selection on numbers that are rounded: no negative may be surely better than the one that was chosen.
void TestCosineSelection() {
  for (int64_t classes : {9, 30}) {
    if (!IsTurn()) continue;
    const Sample sample = OfIntegers(130, 16, classes, 31);
    const ByLoops loops(Metric::kCosine, sample);
    const double allowed = 40.0 * kEpsilon;
    const Lists lists = MinedByDevice(Mining::kSemihard, Metric::kCosine, sample);
    for (size_t t = 0; t < lists.anchor.size(); ++t) {
      const int64_t a = lists.anchor[t];
      const double limit = loops.Distance(a, lists.positive[t]),
                   chosen = loops.Distance(a, lists.negative[t]);
      bool better =
          sample.labels[static_cast<size_t>(a)] == sample.labels[static_cast<size_t>(lists.negative[t])];
      for (int64_t n = 0; n < sample.rows; ++n) {
        if (sample.labels[static_cast<size_t>(n)] == sample.labels[static_cast<size_t>(a)]) continue;
        const double d = loops.Distance(a, n);
        const bool beyond = d > limit + allowed;
        if (chosen > limit - allowed)
          better |= beyond && d < chosen - allowed;
        else
          better |= beyond || d > chosen + allowed;
      }
      Expect(!better, "cosine: a better negative", a, lists.positive[t]);
    }
  }
}

// Enough tiles that a block takes several tiles of columns and meets others of the same anchors.
void TestSplits() {
  const Sample sample = OfIntegers(1500, 3, 60, 77);
  CheckMined(Mining::kSemihard, Metric::kSqeuclidean, sample, 0, "large batch");
}

// No coordinates: all distances are 0, but 1 for cosine.
void TestNoCoordinates() {
  for (Mining mining : kMinings)
    for (Metric metric : {Metric::kSqeuclidean, Metric::kCosine}) {
      const Sample sample = OfIntegers(20, 0, 4, 1);
      CheckMined(mining, metric, sample, 0, "no coordinates");
      CheckLoss(mining, metric, 1.0f, sample, "loss without coordinates");
    }
}

}  // namespace

void CheckCudaTriplets() {
  g_case = 0;
  TestMined();
  TestLosses();
  TestUneven();
  TestNear();
  TestSpecialRows();
  TestPadding();
  TestCosineSelection();
  TestSplits();
  TestNoCoordinates();
}

}  // namespace fslcore
