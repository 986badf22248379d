// SPDX-License-Identifier: MIT
// The terms of pairs and their gradient: those of plain loops, the same bits by any number of threads,
// nothing written beside the results.
#include <gtest/gtest.h>

#include "core/reductions/pair_reduction.h"
#include "tests/reductions_problem.h"

namespace fslcore {
namespace {

PairResults InCore(const PairCase& c, int threads) {
  const int64_t cells = kPairTerms * c.n;
  Guarded values(cells), counts(cells), dx(c.n * c.dim), dy(c.m * c.dim), dlevels(cells), sums(2 * cells);
  std::vector<int32_t> indices(static_cast<size_t>(cells));
  const PairProblem problem = c.Problem();
  ReducePairs(Threads(threads), problem, {values.get(), indices.data(), counts.get()});
  ReducePairsGrad(Threads(threads), problem, values.get(), c.grad.data(),
                  {dx.get(), dy.get(), c.has_levels ? dlevels.get() : nullptr, sums.get()});
  const auto taken = [](Guarded& from) {
    EXPECT_TRUE(from.intact());
    return std::vector<float>(from.get(), from.get() + from.size());
  };
  return {taken(values),
          taken(counts),
          taken(dx),
          taken(dy),
          c.has_levels ? taken(dlevels) : std::vector<float>(),
          taken(sums),
          indices};
}

TEST(Reductions, AreThoseOfPlainLoops) {
  int number = 0;
  for (const PairCase& c : PairCases(/*for_core=*/true)) {
    SCOPED_TRACE(testing::Message() << "case " << number++ << ", "
                                    << kMetricNames[static_cast<size_t>(c.metric)] << ", rows " << c.n);
    const PairResults wanted = PlainPairs(c).Run(), got = InCore(c, 1), again = InCore(c, 3);
    EXPECT_EQ(got.counts, wanted.counts);
    EXPECT_EQ(got.indices, wanted.indices);
    EXPECT_TRUE(AgreeAbout(got.values, wanted.values)) << "values";
    EXPECT_TRUE(AgreeAbout(got.dx, wanted.dx)) << "dx";
    EXPECT_TRUE(AgreeAbout(got.dy, wanted.dy)) << "dy";
    EXPECT_TRUE(AgreeAbout(TotalsOf(got.sums), TotalsOf(wanted.sums))) << "sums";
    EXPECT_TRUE(!c.has_levels || AgreeAbout(got.dlevels, wanted.dlevels)) << "dlevels";
    EXPECT_EQ(again.values, got.values);
    EXPECT_EQ(again.dx, got.dx);
    EXPECT_EQ(again.dy, got.dy);
  }
}

SumResults SumsInCore(const SumCase& of, int threads) {
  const PairCase& c = of.pairs;
  Guarded total(1), counts(kPairTerms), slopes(of.level_count * c.n), dx(c.n * c.dim), dy(c.m * c.dim),
      dparameters(2 * kPairTerms);
  SumPairs(Threads(threads), {c.Problem(), of.factors.data(), of.level_count, of.levels.data()},
           {total.get(), counts.get(), slopes.get(), dx.get(), dy.get(), dparameters.get()});
  const auto taken = [](Guarded& from) {
    EXPECT_TRUE(from.intact());
    return std::vector<float>(from.get(), from.get() + from.size());
  };
  return {taken(total), taken(counts), taken(slopes), taken(dx), taken(dy), taken(dparameters)};
}

TEST(Reductions, SumsAreThoseOfPlainLoops) {
  int number = 0;
  for (const SumCase& c : SumCases(/*for_core=*/true)) {
    SCOPED_TRACE(testing::Message() << "case " << number++ << ", "
                                    << kMetricNames[static_cast<size_t>(c.pairs.metric)] << ", rows "
                                    << c.pairs.n);
    const SumResults wanted = c.Wanted(), got = SumsInCore(c, 1), again = SumsInCore(c, 3);
    EXPECT_EQ(got.counts, wanted.counts);
    EXPECT_TRUE(AgreeAbout(got.total, wanted.total)) << "total";
    EXPECT_TRUE(AgreeAbout(got.slopes, wanted.slopes)) << "slopes";
    EXPECT_TRUE(AgreeAbout(got.dx, wanted.dx)) << "dx";
    EXPECT_TRUE(AgreeAbout(got.dy, wanted.dy)) << "dy";
    EXPECT_TRUE(AgreeAbout(got.dparameters, wanted.dparameters)) << "dparameters";
    EXPECT_EQ(again.total, got.total);
    EXPECT_EQ(again.slopes, got.slopes);
    EXPECT_EQ(again.dx, got.dx);
    EXPECT_EQ(again.dy, got.dy);
    EXPECT_EQ(again.dparameters, got.dparameters);
  }
}

TEST(Reductions, RefuseWhatDoesNotFit) {
  const Sizes x = {5, 3}, none = {0, 3}, parameters = {kPairTerms, kPairParameters};
  std::array<PairTerm, kPairTerms> terms = {};
  const auto check = [&](PairRows rows, const Sizes& y, const Sizes& labels, const Sizes& others,
                         const Sizes& weights, const Sizes& levels) {
    return CheckPairReduction(Metric::kDot, rows, terms, x, y, labels, others, weights, parameters, levels);
  };
  EXPECT_EQ(check(PairRows::kBatch, none, {5}, {0}, {0}, {0, 5}), "");
  EXPECT_EQ(check(PairRows::kLeading, {6, 3}, {5}, {6}, {0}, {2, 5}), "");
  EXPECT_NE(check(PairRows::kBatch, {5, 3}, {5}, {5}, {0}, {0, 5}), "");
  EXPECT_NE(check(PairRows::kApart, {4, 2}, {5}, {4}, {0}, {0, 5}), "");
  EXPECT_NE(check(PairRows::kApart, {4, 3}, {4}, {4}, {0}, {0, 5}), "");
  EXPECT_NE(check(PairRows::kApart, {4, 3}, {5}, {5}, {0}, {0, 5}), "");
  EXPECT_NE(check(PairRows::kApart, {4, 3}, {5}, {4}, {3}, {0, 5}), "");
  EXPECT_NE(check(PairRows::kLeading, {4, 3}, {5}, {4}, {0}, {0, 5}), "");
  EXPECT_NE(check(PairRows::kApart, {4, 3}, {5}, {4}, {0}, {1, 5}), "");
  const auto check_sum = [&](PairReduction reduction, const Sizes& levels, const Sizes& factors) {
    terms[0].reduction = reduction;
    return CheckPairSum(Metric::kDot, PairRows::kBatch, terms, x, none, {5}, {0}, {0}, parameters, levels,
                        factors);
  };
  EXPECT_EQ(check_sum(PairReduction::kSum, {kMostPairLevels, 5}, {2}), "");
  EXPECT_NE(check_sum(PairReduction::kSum, {kMostPairLevels + 1, 5}, {2}), "");
  EXPECT_NE(check_sum(PairReduction::kSum, {1, 4}, {2}), "");
  EXPECT_NE(check_sum(PairReduction::kSum, {0, 5}, {1}), "");
  EXPECT_NE(check_sum(PairReduction::kMax, {0, 5}, {2}), "");
  EXPECT_NE(check_sum(PairReduction::kLogSumExp, {0, 5}, {2}), "");
  terms[0].function = PairFunction::kLifted;
  EXPECT_NE(check_sum(PairReduction::kSum, {2, 5}, {2}), "");
  EXPECT_EQ(check(PairRows::kBatch, none, {5}, {0}, {0}, {2, 5}), "");
  EXPECT_NE(check(PairRows::kBatch, none, {5}, {0}, {0}, {0, 5}), "");
}

}  // namespace
}  // namespace fslcore
