// SPDX-License-Identifier: MIT
#include "core/search/nearest.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "core/arrays/scratch.h"
#include "core/pairwise/pairwise.h"
#include "core/search/keys.h"
#include "core/search/limits.h"
#include "core/search/nearest_lists.h"
#include "core/simd/manhattan_kernels.h"
#include "core/simd/pairwise_kernels.h"
#include "core/simd/row_kernels.h"
#include "core/simd/search_kernels.h"
#include "core/threads/places.h"

namespace fslcore {
namespace {

// Queries that are searched together: with 128 columns their panels take 512 KB.
constexpr int64_t kTogether = 1024;
// Rows of a block, which meet all panels together; with 128 columns 96 KB of the L2 cache.
constexpr int64_t kBlockRows = 192;

// Queries as the search takes them: what is summed with rows, and what rows are compared with in the end.
class Queries {
 public:
  Queries(const Executor& executor, Metric metric, Matrix<const float> queries)
      : metric_(metric),
        exact_(queries),
        summed_(queries),
        panel_(simd::Rows().panel),
        unit_(ComparesLengths() ? queries.rows * queries.cols : 0),
        lengths_(queries.rows),
        panels_(RoundUp(queries.rows, panel_) * queries.cols),
        terms_(static_cast<size_t>(queries.rows)) {
    if (ComparesLengths()) {
      NormaliseRows(executor, queries, unit_.get(), lengths_.get());
      summed_.data = unit_.get();
      if (metric == Metric::kCosine) exact_.data = unit_.get();
    }
    ParallelFor(executor, DivideUp(queries.rows, panel_), RowsWorthAThread(panel_ * queries.cols),
                [&](int64_t begin, int64_t end) {
                  for (int64_t p = begin; p < end; ++p) Prepare(p);
                });
  }

  int64_t count() const { return summed_.rows; }
  int64_t panels() const { return DivideUp(count(), panel_); }
  const float* panel(int64_t p) const { return panels_.get() + p * panel_ * summed_.cols; }
  const float* summed(int64_t query) const { return summed_.row(query); }
  const float* exact(int64_t query) const { return exact_.row(query); }

  // The metric of a query and a row; `unit` has room for a row.
  float Value(int64_t query, const float* row, float* unit) const {
    const int64_t dim = exact_.cols;
    if (metric_ != Metric::kCosine) return simd::Search().exact(metric_, exact_.row(query), row, dim);
    float length;
    NormaliseRows({}, {row, 1, dim}, unit, &length);
    if (length == 0.0f || lengths_[query] == 0.0f)
      return std::isnan(length + lengths_[query]) ? std::numeric_limits<float>::quiet_NaN() : 1.0f;
    return simd::Search().exact(metric_, exact_.row(query), unit, dim);
  }

  float Limit(int64_t query, float worst) const {
    return search::LimitOf(metric_, exact_.cols, terms_[static_cast<size_t>(query)], worst);
  }

 private:
  bool ComparesLengths() const { return metric_ == Metric::kCosine || metric_ == Metric::kDot; }

  void Prepare(int64_t p) {
    const int64_t first = p * panel_, dim = summed_.cols;
    simd::Rows().pack_rows(summed_.data, count(), dim, first, panels_.get() + first * dim);
    for (int64_t i = first; i < std::min(first + panel_, count()); ++i) {
      search::OfQuery& terms = terms_[static_cast<size_t>(i)];
      if (metric_ == Metric::kManhattan)
        simd::Pairwise().sums(summed_.row(i), dim, &terms.square, &terms.length);
      else if (ComparesLengths())
        terms.length = lengths_[i];
      else
        simd::Search().squares(summed_.row(i), 1, dim, &terms.square);
    }
  }

  Metric metric_;
  Matrix<const float> exact_, summed_;
  int64_t panel_;
  Scratch<float> unit_, lengths_, panels_;
  std::vector<search::OfQuery> terms_;
};

// One thread's search through blocks of rows.
class Searcher {
 public:
  Searcher(Metric metric, const Queries& queries, Matrix<const float> rows, int64_t k)
      : metric_(metric),
        similarity_(metric == Metric::kDot),
        queries_(queries),
        rows_(rows),
        lists_(queries.count(), k),
        panel_(simd::Rows().panel),
        is_few_(queries.count() <= simd::Search().most_few),
        limits_(queries.panels() * panel_),
        tiles_(is_few_ ? 0 : kBlockRows * rows.cols),
        sums_(kBlockRows * panel_),
        bounds_(kBlockRows * panel_),
        scales_(kBlockRows),
        offsets_(kBlockRows),
        squares_(kBlockRows),
        magnitudes_(kBlockRows),
        unit_(metric == Metric::kCosine ? rows.cols : 0),
        found_(kBlockRows * panel_) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    std::fill_n(limits_.get(), queries.count(), -kInfinity);
    std::fill(limits_.get() + queries.count(), limits_.get() + queries.panels() * panel_, kInfinity);
  }

  // At most kBlockRows rows.
  void Search(int64_t begin, int64_t end) {
    const Matrix<const float> block = {rows_.row(begin), end - begin, rows_.cols};
    if (is_few_)
      SearchFew(block, begin);
    else
      SearchTiles(block, begin);
  }

  const search::NearestLists& lists() const { return lists_; }

 private:
  void SearchFew(Matrix<const float> block, int64_t begin) {
    const int64_t count = queries_.count();
    const bool is_judged = metric_ == Metric::kCosine;
    simd::Search().few({metric_, block.rows, count, block.cols, block.data,
                        is_judged ? queries_.summed(0) : queries_.exact(0), sums_.get(), squares_.get()});
    if (is_judged) JudgeRows(block);
    const float sign = similarity_ ? 1.0f : -1.0f;
    for (int64_t r = 0; r < block.rows; ++r)
      for (int64_t c = 0; c < count; ++c) {
        const float value = sums_[r * count + c];
        if (is_judged)
          Offer(block, begin, r, c, scales_[r] * value + offsets_[r]);
        else if (!(sign * value < limits_[c]) && Keep(c, value, begin + r))
          limits_[c] = sign * Last(c);
      }
  }

  void SearchTiles(Matrix<const float> rows, int64_t begin) {
    if (PairOf(metric_) == Pair::kProduct)
      simd::Search().squares(rows.data, rows.rows, rows.cols, squares_.get());
    JudgeRows(rows);
    simd::SearchBlock block = {};
    block.pair = PairOf(metric_);
    block.max_by_fma = block.pair == Pair::kAbsolute && simd::MaxByFma();
    simd::Pairwise().pack_tiles(rows.data, rows.rows, rows.cols, block.max_by_fma, tiles_.get());
    block.rows = rows.rows;
    block.dim = rows.cols;
    block.tiles = tiles_.get();
    block.scales = scales_.get();
    block.offsets = offsets_.get();
    block.sums = sums_.get();
    block.found = found_.get();
    block.bounds = bounds_.get();
    for (int64_t p = 0; p < queries_.panels(); ++p) {
      const int64_t first = p * panel_;
      block.queries = std::min(panel_, queries_.count() - first);
      block.panel = queries_.panel(p);
      block.limits = limits_.get() + first;
      const int64_t found = simd::Search().candidates(block);
      for (int64_t i = 0; i < found; ++i)
        Offer(rows, begin, block.found[i] / panel_, first + block.found[i] % panel_, block.bounds[i]);
    }
  }

  // By squares_, for manhattan by sums. The loops over rows become vectors.
  void JudgeRows(Matrix<const float> block) {
    switch (metric_) {
      case Metric::kCosine:
        return Judge<Metric::kCosine>(block);
      case Metric::kDot:
        return Judge<Metric::kDot>(block);
      case Metric::kManhattan:
        for (int64_t r = 0; r < block.rows; ++r)
          simd::Pairwise().sums(block.row(r), block.cols, squares_.get() + r, magnitudes_.get() + r);
        return Judge<Metric::kManhattan>(block);
      case Metric::kChebyshev:
        return Judge<Metric::kChebyshev>(block);
      default:
        return Judge<Metric::kSqeuclidean>(block);
    }
  }

  template <Metric kMetric>
  void Judge(Matrix<const float> block) {
    const float *squares = squares_.get(), *magnitudes = magnitudes_.get();
    float *scales = scales_.get(), *offsets = offsets_.get();
    for (int64_t r = 0; r < block.rows; ++r) {
      const search::OfRow terms = search::RowTerms(kMetric, block.cols, squares[r], magnitudes[r]);
      scales[r] = terms.scale;
      offsets[r] = terms.offset;
    }
  }

  void Offer(Matrix<const float> block, int64_t begin, int64_t r, int64_t query, float bound) {
    if (bound < limits_[query]) return;
    if (Keep(query, queries_.Value(query, block.row(r), unit_.get()), begin + r))
      limits_[query] = queries_.Limit(query, Last(query));
  }

  // Returns whether the query has another k-th nearest row now.
  bool Keep(int64_t query, float value, int64_t row) {
    return lists_.Offer(query, SearchKey(similarity_, value, row));
  }
  float Last(int64_t query) const { return SearchValue(similarity_, lists_.last(query)); }

  Metric metric_;
  bool similarity_;
  const Queries& queries_;
  Matrix<const float> rows_;
  search::NearestLists lists_;
  int64_t panel_;
  bool is_few_;
  Scratch<float> limits_, tiles_, sums_, bounds_, scales_, offsets_, squares_, magnitudes_, unit_;
  Scratch<int32_t> found_;
};

// The first k of all lists, in order.
void Merge(const std::vector<const search::NearestLists*>& lists, bool similarity, int64_t query, int64_t k,
           std::vector<uint64_t>& keys, float* values, int32_t* indices) {
  keys.clear();
  for (const search::NearestLists* list : lists)
    keys.insert(keys.end(), list->begin(query), list->end(query));
  std::partial_sort(keys.begin(), keys.begin() + k, keys.end());
  for (int64_t i = 0; i < k; ++i) {
    values[i] = SearchValue(similarity, keys[static_cast<size_t>(i)]);
    indices[i] = SearchIndex(keys[static_cast<size_t>(i)]);
  }
}

void SearchTogether(const Executor& executor, Metric metric, Matrix<const float> queries,
                    Matrix<const float> rows, int64_t k, float* values, int32_t* indices) {
  const Queries prepared(executor, metric, queries);
  // Each thread keeps its lists and their limits from block to block.
  Places places(executor);
  std::vector<std::unique_ptr<Searcher>> searchers(static_cast<size_t>(places.count()));
  const int64_t work = queries.rows * kBlockRows * std::max<int64_t>(1, rows.cols);
  const int64_t blocks = std::max<int64_t>(1, kWorkWorthAThread / work);
  ParallelFor(executor, rows.rows, blocks * kBlockRows, [&](int64_t begin, int64_t end) {
    const Places::Place place(places);
    auto& searcher = searchers[static_cast<size_t>(place.index())];
    if (!searcher) searcher = std::make_unique<Searcher>(metric, prepared, rows, k);
    for (int64_t row = begin; row < end; row += kBlockRows)
      searcher->Search(row, std::min(end, row + kBlockRows));
  });
  std::vector<const search::NearestLists*> lists;
  for (const auto& searcher : searchers)
    if (searcher) lists.push_back(&searcher->lists());
  ParallelFor(executor, queries.rows, std::max<int64_t>(1, kWorkWorthAThread / (32 * k)),
              [&](int64_t begin, int64_t end) {
                std::vector<uint64_t> keys;
                for (int64_t i = begin; i < end; ++i)
                  Merge(lists, metric == Metric::kDot, i, k, keys, values + i * k, indices + i * k);
              });
}

}  // namespace

std::string CheckNearestRows(int64_t k, int64_t rows) {
  if (k <= rows) return "";
  return "k must be at most the number of rows (" + std::to_string(rows) + "), received " + std::to_string(k);
}

std::string CheckNearest(Metric metric, int64_t k, const Sizes& queries, const Sizes& rows) {
  const std::string problem =
      FirstOf({CheckAxes("queries", queries, 2), CheckAxes("rows", rows, 2), CheckAtLeast("k", 1, k)});
  if (!problem.empty()) return problem;
  if (std::find(kSearchMetrics.begin(), kSearchMetrics.end(), metric) == kSearchMetrics.end())
    return "metric must not have weights in a search, received " +
           std::string(kMetricNames[static_cast<size_t>(metric)]);
  if (queries[1] != rows[1])
    return "queries and rows must have the same number of columns, received queries: " + ShapeText(queries) +
           ", rows: " + ShapeText(rows);
  if (rows[0] > kMostPositions) return "rows must be fewer than 2^31, received shape " + ShapeText(rows);
  return CheckNearestRows(k, rows[0]);
}

void Nearest(const Executor& executor, Metric metric, Matrix<const float> queries, Matrix<const float> rows,
             int64_t k, float* values, int32_t* indices) {
  // With few rows, threads share the queries.
  const bool by_queries = queries.rows >= 8 * kTogether && rows.rows < 8 * kBlockRows;
  const auto search = [&](const Executor& own, int64_t begin, int64_t end) {
    SearchTogether(own, metric, {queries.row(begin), end - begin, queries.cols}, rows, k, values + begin * k,
                   indices + begin * k);
  };
  if (by_queries)
    return ParallelFor(executor, queries.rows, kTogether,
                       [&](int64_t begin, int64_t end) { search({}, begin, end); });
  for (int64_t begin = 0; begin < queries.rows; begin += kTogether)
    search(executor, begin, std::min(queries.rows, begin + kTogether));
}

}  // namespace fslcore
