// SPDX-License-Identifier: MIT
// Terms of pairs and their gradient by plain loops in double precision, for the core and the CUDA kernels.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "core/reductions/pair_reduction.h"
#include "core/reductions/pair_sum.h"
#include "tests/inputs.h"

namespace fslcore {

// What a case computes, whoever computes it.
struct PairResults {
  std::vector<float> values, counts, dx, dy, dlevels, sums;
  std::vector<int32_t> indices;
};

// Of sums over pairs: total, counts, the rest as in core/reductions/pair_sum.h.
struct SumResults {
  std::vector<float> total, counts, slopes, dx, dy, dparameters;
};

struct PairCase {
  Metric metric;
  PairRows rows;
  std::array<PairTerm, kPairTerms> terms;
  int64_t n, m, dim;
  bool has_levels;
  std::vector<float> x, y, weights, parameters, levels, grad;
  std::vector<int64_t> x_labels, y_labels;

  PairCase(Metric metric_, PairRows rows_, std::array<PairTerm, kPairTerms> terms_, int64_t n_, int64_t m_,
           int64_t dim_, bool has_levels_)
      : metric(metric_), rows(rows_), terms(terms_), n(n_), m(m_), dim(dim_), has_levels(has_levels_) {
    const auto scaled = [](std::vector<float> values, float by) {
      for (float& value : values) value *= by;
      return values;
    };
    x = scaled(Integers(n * dim, 3), 0.125f);
    y = scaled(Integers(m * dim, 4), 0.125f);
    if (rows == PairRows::kLeading) std::copy(x.begin(), x.end(), y.begin());
    if (n > 3 && dim > 0) std::copy_n(x.begin(), dim, x.begin() + 3 * dim);  // equal rows
    if (rows == PairRows::kLeading) std::copy(x.begin(), x.end(), y.begin());
    weights = metric == Metric::kWeightedManhattan ? scaled(Integers(dim, 5), 0.125f) : std::vector<float>();
    parameters = {0.5f, -0.25f, 2.0f, 0.5f, -0.75f, 1.0f, 1.0f, 0.25f};
    levels = has_levels ? scaled(Integers(kPairTerms * n, 6), 0.0625f) : std::vector<float>();
    grad = scaled(Integers(kPairTerms * n, 7), 0.25f);
    for (int64_t i = 0; i < n; ++i) x_labels.push_back(i % 7 == 5 ? 0 : i % 4 - 2);  // 0 belongs to no pair
    for (int64_t i = 0; i < m; ++i)
      y_labels.push_back(rows == PairRows::kLeading && i < n ? x_labels[static_cast<size_t>(i)] : i % 5 - 2);
  }

  PairProblem Problem() const {
    return {metric,
            rows,
            terms,
            {x.data(), n, dim},
            {y.data(), m, dim},
            x_labels.data(),
            y_labels.data(),
            {weights.data(), static_cast<int64_t>(weights.size())},
            parameters.data(),
            has_levels ? levels.data() : nullptr};
  }
  bool is_batch() const { return rows == PairRows::kBatch; }
  int64_t others() const { return is_batch() ? n : m; }
};

class PlainPairs {
 public:
  explicit PlainPairs(const PairCase& of) : c_(of) {}

  // `values` as somebody computed them, for the gradient.
  PairResults Run() const {
    PairResults out;
    const auto cells = static_cast<size_t>(kPairTerms * c_.n);
    out.values.resize(cells), out.counts.resize(cells), out.indices.assign(cells, -1);
    std::vector<double> dx(c_.x.size()), dy(c_.y.size()), dlevels(cells), sums(2 * cells);
    for (int term = 0; term < kPairTerms; ++term)
      for (int64_t i = 0; i < c_.n; ++i) ReduceRow(term, i, out, dx, dy, dlevels, sums);
    const auto floats = [](const std::vector<double>& from) {
      return std::vector<float>(from.begin(), from.end());
    };
    out.dx = floats(dx), out.dy = floats(dy), out.dlevels = floats(dlevels), out.sums = floats(sums);
    return out;
  }

  // Sums over pairs, with the levels row after row of `levels` [levels, n].
  SumResults RunSums(const std::vector<float>& levels, const std::vector<float>& factors) const {
    const auto count = c_.n == 0 ? int64_t{0} : static_cast<int64_t>(levels.size()) / c_.n;
    std::vector<double> dx(c_.x.size()), dy(c_.y.size()), slopes(levels.size()), of_terms(6), counts(2);
    for (int term = 0; term < kPairTerms; ++term) {
      const PairTerm& of = c_.terms[static_cast<size_t>(term)];
      if (of.reduction == PairReduction::kNone) continue;
      const float* p = c_.parameters.data() + term * kPairParameters;
      const double factor = factors[static_cast<size_t>(term)];
      for (int64_t i = 0; i < c_.n; ++i)
        for (int64_t j = 0; j < c_.others(); ++j) {
          if (!IsPair(term, i, j)) continue;
          counts[static_cast<size_t>(term)] += 1;
          const double s = Metric_(i, j);
          for (int64_t l = 0; l < std::max<int64_t>(1, count); ++l) {
            const auto at = static_cast<size_t>(l * c_.n + i);
            const double t = double{p[0]} * s + double{p[1]} - (count ? double{levels[at]} : 0.0);
            const Counted pair = CountedPair(of, p, j, s, t);
            of_terms[static_cast<size_t>(term)] += factor * pair.value;
            of_terms[static_cast<size_t>(2 + 2 * term)] += factor * pair.slope * s;
            of_terms[static_cast<size_t>(3 + 2 * term)] += factor * pair.slope;
            if (count) slopes[at] += factor * pair.slope;
            AddGradient(i, pair, factor * pair.slope * double{p[0]}, dx, dy);
          }
        }
    }
    const auto floats = [](const std::vector<double>& from) {
      return std::vector<float>(from.begin(), from.end());
    };
    return {{static_cast<float>(of_terms[0] + of_terms[1])},
            floats(counts),
            floats(slopes),
            floats(dx),
            floats(dy),
            floats({of_terms.begin() + 2, of_terms.end()})};
  }

 private:
  struct Counted {
    int64_t j;
    double metric, value, slope;
  };

  // The function of t, but lifted.
  static Counted CountedPair(const PairTerm& of, const float* p, int64_t j, double s, double t) {
    const double positive = std::max(t, 0.0);
    switch (of.function) {
      case PairFunction::kHinge:
        return {j, s, positive, t > 0 ? 1.0 : 0.0};
      case PairFunction::kSquaredHinge:
        return {j, s, positive * positive, 2 * positive};
      case PairFunction::kSoftplus:
        return {j, s, std::log1p(std::exp(t)), 1 / (1 + std::exp(-t))};
      case PairFunction::kCircle:
        return {j, s, double{p[2]} * positive * (t - double{p[3]}), double{p[2]} * positive};
      default:
        return {j, s, t, 1.0};
    }
  }

  void AddGradient(int64_t i, const Counted& pair, double by_s, std::vector<double>& dx,
                   std::vector<double>& dy) const {
    for (int64_t d = 0; d < c_.dim; ++d) {
      dx[static_cast<size_t>(i * c_.dim + d)] += by_s * Slope(X(i), Y(pair.j), d, pair.metric);
      (c_.is_batch() ? dx : dy)[static_cast<size_t>(pair.j * c_.dim + d)] +=
          by_s * Slope(Y(pair.j), X(i), d, pair.metric);
    }
  }

  const float* X(int64_t i) const { return c_.x.data() + i * c_.dim; }
  const float* Y(int64_t j) const { return (c_.is_batch() ? c_.x : c_.y).data() + j * c_.dim; }

  bool IsPair(int term, int64_t i, int64_t j) const {
    const int64_t a = c_.x_labels[static_cast<size_t>(i)],
                  b = (c_.is_batch() ? c_.x_labels : c_.y_labels)[static_cast<size_t>(j)];
    if (a == 0 || b == 0 || (c_.rows != PairRows::kApart && i == j)) return false;
    const PairGroup group = c_.terms[static_cast<size_t>(term)].pairs;
    return group == PairGroup::kAll || (group == PairGroup::kPositive) == (a == b);
  }

  // The metric and, for one coordinate, its slopes by x and by y.
  double Metric_(int64_t i, int64_t j) const {
    double sum = 0, xx = 0, yy = 0, xy = 0;
    for (int64_t d = 0; d < c_.dim; ++d) {
      const double a = X(i)[d], b = Y(j)[d];
      xx += a * a, yy += b * b, xy += a * b;
      if (c_.metric == Metric::kManhattan) sum += std::fabs(a - b);
      if (c_.metric == Metric::kWeightedManhattan)
        sum += c_.weights[static_cast<size_t>(d)] * std::fabs(a - b);
      if (c_.metric == Metric::kSqeuclidean || c_.metric == Metric::kEuclidean) sum += (a - b) * (a - b);
    }
    if (c_.metric == Metric::kDot) return xy;
    if (c_.metric == Metric::kCosine) return xx == 0 || yy == 0 ? 1.0 : 1.0 - xy / std::sqrt(xx * yy);
    return c_.metric == Metric::kEuclidean ? std::sqrt(sum) : sum;
  }
  double Slope(const float* a, const float* b, int64_t d, double value) const {
    const double difference = double{a[d]} - double{b[d]};
    switch (c_.metric) {
      case Metric::kDot:
        return b[d];
      case Metric::kSqeuclidean:
        return 2 * difference;
      case Metric::kEuclidean:
        return value == 0 ? 0 : difference / value;
      case Metric::kCosine: {
        double aa = 0, bb = 0, ab = 0;
        for (int64_t k = 0; k < c_.dim; ++k)
          aa += double{a[k]} * a[k], bb += double{b[k]} * b[k], ab += double{a[k]} * b[k];
        if (aa == 0 || bb == 0) return 0;
        return -(b[d] / std::sqrt(aa * bb) - ab * a[d] / (aa * std::sqrt(aa * bb)));
      }
      default:  // weighted_manhattan leaves its weights to the caller
        return difference > 0 ? 1 : difference < 0 ? -1 : 0;
    }
  }

  void ReduceRow(int term, int64_t i, PairResults& out, std::vector<double>& dx, std::vector<double>& dy,
                 std::vector<double>& dlevels, std::vector<double>& sums) const {
    const PairTerm& of = c_.terms[static_cast<size_t>(term)];
    if (of.reduction == PairReduction::kNone) return;
    const float* p = c_.parameters.data() + term * kPairParameters;
    const auto at = static_cast<size_t>(term * c_.n + i);
    std::vector<Counted> counted;
    for (int64_t j = 0; j < c_.others(); ++j) {
      if (!IsPair(term, i, j)) continue;
      const double s = Metric_(i, j), t = double{p[0]} * s + double{p[1]};
      if (c_.has_levels && of.function != PairFunction::kLifted && !(t > c_.levels[at])) continue;
      Counted pair = CountedPair(of, p, j, s, t);
      if (of.function == PairFunction::kLifted) {
        const double u = c_.levels[at], v = c_.levels[static_cast<size_t>(term * c_.n + j)];
        const double sum = std::max(0.0, t + std::log(std::exp(u) + std::exp(v)));
        pair = {j, s, sum * sum, 2 * sum};
      }
      counted.push_back(pair);
    }
    out.counts[at] = static_cast<float>(counted.size());
    double total = 0, most = -std::numeric_limits<double>::infinity(), least = -most;
    for (const Counted& pair : counted) {
      total += of.reduction == PairReduction::kLogSumExp ? std::exp(pair.value) : pair.value;
      if (of.reduction == PairReduction::kMax && pair.value > most)
        out.indices[at] = static_cast<int32_t>(pair.j);
      if (of.reduction == PairReduction::kMin && pair.value < least)
        out.indices[at] = static_cast<int32_t>(pair.j);
      most = std::max(most, pair.value), least = std::min(least, pair.value);
    }
    const double value = of.reduction == PairReduction::kSum         ? total
                         : of.reduction == PairReduction::kLogSumExp ? std::log(total)
                         : of.reduction == PairReduction::kMax       ? most
                                                                     : least;
    out.values[at] = static_cast<float>(value);
    if (IsExtreme(of.reduction)) return;
    for (const Counted& pair : counted) {
      double by_t = c_.grad[at] * pair.slope;
      if (of.reduction == PairReduction::kLogSumExp) by_t *= std::exp(pair.value - value);
      sums[static_cast<size_t>(2 * term * c_.n + i)] += by_t;
      sums[static_cast<size_t>((2 * term + 1) * c_.n + i)] += by_t * pair.metric;
      if (of.function == PairFunction::kLifted) {
        const auto other = static_cast<size_t>(term * c_.n + pair.j);
        const double share = 1 / (1 + std::exp(double{c_.levels[other]} - double{c_.levels[at]}));
        dlevels[at] += by_t * share, dlevels[other] += by_t * (1 - share);
      }
      AddGradient(i, pair, by_t * double{p[0]}, dx, dy);
    }
  }

  const PairCase& c_;
};

// Of [kPairTerms, 2, rows].
inline std::vector<float> TotalsOf(const std::vector<float>& sums) {
  const size_t rows = sums.size() / (2 * kPairTerms);
  std::vector<float> totals;
  for (size_t i = 0; i < 2 * kPairTerms; ++i) {
    double total = 0;
    for (size_t row = 0; row < rows; ++row) total += double{sums[i * rows + row]};
    totals.push_back(static_cast<float>(total));
  }
  return totals;
}

// Whether they agree up to rounding: relative to the magnitude of the whole.
inline bool AgreeAbout(const std::vector<float>& got, const std::vector<float>& wanted) {
  if (got.size() != wanted.size()) return false;
  float largest = 1.0f;
  for (float value : wanted)
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < got.size(); ++i)
    if (!(got[i] == wanted[i] || std::fabs(got[i] - wanted[i]) <= 0x1p-18f * largest)) return false;
  return true;
}

// Every function, reduction and metric, each pair of terms once. The core also has batches of several blocks
// of rows and stretches of columns, which would take a GPU's stand-in minutes.
inline std::vector<PairCase> PairCases(bool for_core) {
  using G = PairGroup;
  using F = PairFunction;
  using R = PairReduction;
  const std::array<PairTerm, kPairTerms> smooth = {{{G::kPositive, F::kSquaredHinge, R::kSum},
                                                    {G::kNegative, F::kLinear, R::kLogSumExp}}},
                                         all = {{{G::kAll, F::kSoftplus, R::kSum},
                                                 {G::kAll, F::kCircle, R::kLogSumExp}}},
                                         extreme = {{{G::kPositive, F::kLinear, R::kMax},
                                                     {G::kNegative, F::kHinge, R::kMin}}},
                                         lifted = {{{G::kPositive, F::kLifted, R::kSum}, {}}};
  std::vector<PairCase> cases;
  const auto add = [&](Metric metric, int64_t n, int64_t m, int64_t dim) {
    cases.push_back({metric, PairRows::kBatch, smooth, n, 0, dim, false});
    cases.push_back({metric, PairRows::kApart, all, n, m, dim, true});
    cases.push_back({metric, PairRows::kLeading, smooth, n, m, dim, false});
  };
  for (Metric metric : kReducedMetrics) {
    add(metric, 9, 14, 5);
    if (for_core) add(metric, 70, 300, 17);
  }
  if (for_core) {
    for (Metric metric : {Metric::kSqeuclidean, Metric::kCosine, Metric::kManhattan})
      cases.push_back({metric, PairRows::kBatch, smooth, 620, 0, 3, false});
    // An odd number of groups of rows; two sides of many groups, and one of them of few.
    cases.push_back({Metric::kSqeuclidean, PairRows::kBatch, extreme, 448, 0, 2, false});
    cases.push_back({Metric::kSqeuclidean, PairRows::kBatch, lifted, 448, 0, 2, true});
    cases.push_back({Metric::kCosine, PairRows::kApart, all, 620, 530, 3, false});
    cases.push_back({Metric::kEuclidean, PairRows::kLeading, smooth, 520, 630, 3, false});
    cases.push_back({Metric::kSqeuclidean, PairRows::kApart, smooth, 530, 20, 3, false});
  } else
    add(Metric::kCosine, 66, 70, 66);  // more than one tile each way
  for (int64_t n : {int64_t{1}, int64_t{2}, int64_t{for_core ? 130 : 66}}) {
    cases.push_back({Metric::kSqeuclidean, PairRows::kBatch, extreme, n, 0, 8, false});
    cases.push_back({Metric::kManhattan, PairRows::kApart, extreme, n, 21, 3, true});
    cases.push_back({Metric::kSqeuclidean, PairRows::kBatch, lifted, n, 0, 8, true});
  }
  cases.push_back({Metric::kDot, PairRows::kApart, all, 3, 0, 4, false});
  cases.push_back({Metric::kEuclidean, PairRows::kApart, smooth, 0, 5, 4, false});
  cases.push_back({Metric::kSqeuclidean, PairRows::kBatch, all, 6, 0, 0, false});
  return cases;
}

// A case of sums over pairs.
struct SumCase {
  PairCase pairs;
  std::vector<float> levels, factors;
  int64_t level_count;

  SumCase(PairCase of, int64_t count) : pairs(std::move(of)), factors{1.5f, -0.5f}, level_count(count) {
    levels = Integers(count * pairs.n, 8);
    for (float& level : levels) level *= 0.0625f;
  }
  SumResults Wanted() const { return PlainPairs(pairs).RunSums(levels, factors); }
};

// Every function and metric, with and without levels.
inline std::vector<SumCase> SumCases(bool for_core) {
  using G = PairGroup;
  using F = PairFunction;
  using R = PairReduction;
  const std::array<PairTerm, kPairTerms> hinges = {{{G::kPositive, F::kSquaredHinge, R::kSum},
                                                    {G::kNegative, F::kHinge, R::kSum}}},
                                         smooth = {{{G::kAll, F::kSoftplus, R::kSum},
                                                    {G::kNegative, F::kLinear, R::kSum}}},
                                         one = {{{G::kNegative, F::kHinge, R::kSum}, {}}},
                                         circle = {{{G::kPositive, F::kCircle, R::kSum}, {}}};
  std::vector<SumCase> cases;
  const auto add = [&](int64_t levels, Metric metric, PairRows rows,
                       const std::array<PairTerm, kPairTerms>& terms, int64_t n, int64_t m, int64_t dim) {
    cases.emplace_back(PairCase(metric, rows, terms, n, m, dim, false), levels);
  };
  for (Metric metric : kReducedMetrics) {
    add(0, metric, PairRows::kBatch, hinges, for_core ? 70 : 9, 0, 5);
    add(2, metric, PairRows::kBatch, one, for_core ? 70 : 9, 0, 5);
    add(0, metric, PairRows::kApart, smooth, 9, for_core ? 300 : 14, 5);
    add(3, metric, PairRows::kLeading, smooth, 9, 14, 5);
  }
  add(1, Metric::kEuclidean, PairRows::kBatch, circle, for_core ? 448 : 66, 0, 3);
  add(0, Metric::kCosine, PairRows::kApart, smooth, for_core ? 620 : 66, for_core ? 530 : 70, 3);
  add(kMostPairLevels, Metric::kDot, PairRows::kBatch, smooth, for_core ? 620 : 66, 0, 3);
  add(2, Metric::kSqeuclidean, PairRows::kApart, hinges, for_core ? 530 : 66, 20, 3);
  add(2, Metric::kDot, PairRows::kApart, smooth, 3, 0, 4);
  add(0, Metric::kEuclidean, PairRows::kApart, hinges, 0, 5, 4);
  add(1, Metric::kSqeuclidean, PairRows::kBatch, smooth, 6, 0, 0);
  return cases;
}

}  // namespace fslcore
