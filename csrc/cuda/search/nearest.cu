// SPDX-License-Identifier: MIT
// The search for the nearest rows on a GPU. A block sums tiles of 64 queries x 64 rows (cuda/pairwise/tile.h)
// through a share of the rows. Its warps compare the sums with the limits of their queries, evaluate the
// candidates, and keep the nearest of each query in a list in global memory. A second kernel merges the lists
// of all shares.
//
// On an H200 the sums take 2 queries * rows * dim / 67e12 s, or the rows are read once, rows * dim * 4
// / 4.3e12 s.
#include <algorithm>

#include "core/search/keys.h"
#include "core/search/limits.h"
#include "cuda/pairwise/pairwise_rows.h"
#include "cuda/pairwise/tile.h"
#include "cuda/search/nearest.h"

namespace fslcore::cuda {

using namespace pairwise;

namespace {

constexpr int kSide = 64;
// Blocks that are wanted: four for each multiprocessor.
constexpr int64_t kWantedBlocks = 528;
// A share of the rows has at least so many, or its lists would take more time than its sums.
constexpr int64_t kLeastShare = 2048;

struct SearchArguments {
  Metric metric;
  const float* summed;  // the queries whose pairs are summed, of length 1 for cosine and dot
  const float* exact;   // the queries that candidates are compared with, of length 1 for cosine
  const float* rows;
  int64_t count, most_rows, dim, k;
  const int32_t* real;  // how many rows there are, or null for `most_rows`
  const float *query_lengths, *query_squares, *row_squares;
  int64_t shares, share_rows;
  bool summed_aligned, rows_aligned;
  uint64_t* lists;  // [count, shares, k]

  __device__ int64_t real_rows() const { return real ? *real : most_rows; }
  __device__ uint64_t* list(int64_t query, int64_t share) const {
    return lists + (query * shares + share) * k;
  }
};

struct SearchMemory {
  static constexpr int kStride = kSide + 4;
  union {
    TileBuffers<kSide, kSide> operands;
    float sums[kSide * kStride];
  };
  float limits[kSide];  // of the queries of the block
  int64_t sizes[kSide];
  uint64_t last[kSide];  // the last key of a full list
};

__device__ uint64_t WarpLast(uint64_t key) {
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    const uint64_t other = __shfl_xor_sync(kWholeWarp, key, mask);
    key = other > key ? other : key;
  }
  return key;
}

__device__ uint64_t WarpFirst(uint64_t key) { return ~WarpLast(~key); }

// The length of a row by a warp, its entries scaled by `scale` before, which keeps squares in range.
__device__ float ScaledLength(const float* row, int64_t dim, float& scale) {
  float largest = 0.0f;
  for (int64_t d = Lane(); d < dim; d += kWarpSize) largest = fmaxf(largest, fabsf(row[d]));
  largest = WarpMax(largest);
  scale = largest >= kSmallestNormal ? 1.0f / largest : 1.0f;
  const float by = scale;
  return sqrtf(WarpSum(LaneSum(dim, [row, by](int64_t d, float sum) {
    const float value = row[d] * by;
    return fmaf(value, value, sum);
  })));
}

// The metric of a query and a row, by a warp; the same in all lanes.
__device__ float ValueOf(const SearchArguments& g, int64_t query, const float* row) {
  const float* y = g.exact + query * g.dim;
  switch (g.metric) {
    case Metric::kDot:
      return WarpSum(LaneSum(g.dim, [y, row](int64_t d, float sum) { return fmaf(y[d], row[d], sum); }));
    case Metric::kManhattan:
      return WarpSum(LaneSum(g.dim, [y, row](int64_t d, float sum) { return sum + fabsf(y[d] - row[d]); }));
    case Metric::kChebyshev: {
      uint64_t largest = 0;  // as integers, where a NaN is above all numbers
      for (int64_t d = Lane(); d < g.dim; d += kWarpSize) {
        const uint64_t difference = __float_as_uint(fabsf(y[d] - row[d]));
        largest = difference > largest ? difference : largest;
      }
      return __uint_as_float(static_cast<unsigned>(WarpLast(largest)));
    }
    case Metric::kCosine: {
      float scale;
      const float length = ScaledLength(row, g.dim, scale), of_query = g.query_lengths[query];
      if (length == 0.0f || of_query == 0.0f) return length + of_query == length + of_query ? 1.0f : NAN;
      return 0.5f * WarpSum(LaneSum(g.dim, [y, row, scale, length](int64_t d, float sum) {
               const float difference = y[d] - row[d] * scale / length;
               return fmaf(difference, difference, sum);
             }));
    }
    default: {
      const float squared = WarpSum(LaneSum(g.dim, [y, row](int64_t d, float sum) {
        const float difference = y[d] - row[d];
        return fmaf(difference, difference, sum);
      }));
      return g.metric == Metric::kEuclidean ? sqrtf(squared) : squared;
    }
  }
}

__device__ float QueryLimit(const SearchArguments& g, int64_t query, uint64_t last) {
  const float worst = SearchValue(g.metric == Metric::kDot, last);
  if (g.metric == Metric::kManhattan) {  // summed as it is defined
    const float limit = -worst * (1.0f + search::Slack(g.dim)) - search::Underflow(g.dim);
    return limit - limit == 0.0f ? limit : -INFINITY;
  }
  const search::OfQuery terms = {g.query_squares ? g.query_squares[query] : 0.0f,
                                 g.query_lengths ? g.query_lengths[query] : 0.0f};
  return search::LimitOf(g.metric, g.dim, terms, worst);
}

// A key for query q of the block, by a warp.
__device__ void OfferKey(const SearchArguments& g, SearchMemory& memory, int q, int64_t query, uint64_t* list,
                         uint64_t key) {
  const int64_t size = memory.sizes[q];
  const bool is_full = size == g.k;
  const uint64_t last = memory.last[q];
  __syncwarp();
  if (is_full && key >= last) return;
  uint64_t largest = key;
  for (int64_t i = Lane(); i < size; i += kWarpSize) {
    uint64_t present = list[i];
    if (is_full && present == last) list[i] = present = key;
    largest = present > largest ? present : largest;
  }
  if (!is_full && Lane() == 0) list[size] = key;
  largest = WarpLast(largest);
  if (Lane() == 0) {
    if (!is_full) memory.sizes[q] = size + 1;
    memory.last[q] = largest;
    if (size + 1 >= g.k) memory.limits[q] = QueryLimit(g, query, largest);
  }
  __syncwarp();
}

// What the sums of a tile say about its queries, a warp after the other.
__device__ void SearchSums(const SearchArguments& g, SearchMemory& memory, int64_t first_query,
                           int64_t first_row, int64_t last_row, int64_t share) {
  constexpr int kColumns = kSide / kWarpSize;
  search::OfRow terms[kColumns];
  FSLCORE_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    const int64_t row = first_row + Lane() + c * kWarpSize;
    terms[c] =
        search::RowTerms(g.metric, g.dim, g.row_squares && row < last_row ? g.row_squares[row] : 0.0f, 0.0f);
    if (g.metric == Metric::kManhattan) terms[c] = {-1.0f, 0.0f};
  }
  for (int q = static_cast<int>(threadIdx.x) / kWarpSize; q < kSide && first_query + q < g.count;
       q += kTileThreads / kWarpSize) {
    const int64_t query = first_query + q;
    FSLCORE_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      const int at = Lane() + c * kWarpSize;
      const float bound = fmaf(memory.sums[q * SearchMemory::kStride + at], terms[c].scale, terms[c].offset);
      const bool is_candidate = first_row + at < last_row && !(bound < memory.limits[q]);
      for (unsigned lanes = __ballot_sync(kWholeWarp, is_candidate); lanes != 0; lanes &= lanes - 1) {
        const int64_t row = first_row + __ffs(static_cast<int>(lanes)) - 1 + c * kWarpSize;
        const float value = ValueOf(g, query, g.rows + row * g.dim);
        OfferKey(g, memory, q, query, g.list(query, share), SearchKey(g.metric == Metric::kDot, value, row));
      }
    }
  }
}

template <Pair kPair>
__global__ void __launch_bounds__(kTileThreads, 2) SearchTiles(SearchArguments g) {
  auto& memory = *SharedMemory<SearchMemory>();
  const int64_t share = blockIdx.x % g.shares, first_query = blockIdx.x / g.shares * kSide;
  for (int q = static_cast<int>(threadIdx.x); q < kSide; q += kTileThreads) {
    memory.limits[q] = -INFINITY;
    memory.sizes[q] = 0;
    memory.last[q] = 0;
  }
  __syncthreads();
  const int64_t rows = g.real_rows(), begin = share * g.share_rows;
  const int64_t end = begin + g.share_rows < rows ? begin + g.share_rows : rows;
  const auto steps = static_cast<int>((g.dim + kTileDepth - 1) / kTileDepth);
  for (int64_t row = begin; row < end; row += kSide) {
    OperandByRows<kSide> a(g.summed, g.dim, first_query, g.count, 0, g.dim, g.summed_aligned);
    OperandByRows<kSide> b(g.rows, g.dim, row, end, 0, g.dim, g.rows_aligned);
    PlainTile<kSide, kSide, kPair> tile;
    AddUpSteps(steps, a, b, memory.operands, tile);
    tile.Deposit(memory.sums, SearchMemory::kStride);
    __syncthreads();
    SearchSums(g, memory, first_query, row, end, share);
    __syncthreads();
  }
  // Nothing stands behind what was found.
  for (int q = static_cast<int>(threadIdx.x) / kWarpSize; q < kSide && first_query + q < g.count;
       q += kTileThreads / kWarpSize)
    for (int64_t i = memory.sizes[q] + Lane(); i < g.k; i += kWarpSize)
      g.list(first_query + q, share)[i] = kNoKey;
}

// A block for each query: the first keys of its lists, one after the other.
__global__ void __launch_bounds__(kThreads) MergeLists(SearchArguments g, float* values, int32_t* indices) {
  auto* firsts = SharedMemory<uint64_t>();  // of each warp
  const int64_t query = blockIdx.x, keys = g.shares * g.k;
  const uint64_t* lists = g.list(query, 0);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  uint64_t before = 0;
  for (int64_t i = 0; i < g.k; ++i) {
    uint64_t first = kNoKey;
    for (int64_t j = threadIdx.x; j < keys; j += kThreads) {
      const uint64_t key = lists[j];
      if ((i == 0 || key > before) && key < first) first = key;
    }
    first = WarpFirst(first);
    if (Lane() == 0) firsts[warp] = first;
    __syncthreads();
    before = firsts[0];
    for (int w = 1; w < kThreads / kWarpSize; ++w) before = firsts[w] < before ? firsts[w] : before;
    if (threadIdx.x == 0) {
      values[query * g.k + i] = before == kNoKey ? NAN : SearchValue(g.metric == Metric::kDot, before);
      indices[query * g.k + i] = before == kNoKey ? -1 : SearchIndex(before);
    }
    __syncthreads();
  }
}

// The caller's workspace.
struct SearchParts {
  float *unit = nullptr, *lengths = nullptr, *query_squares = nullptr, *row_squares = nullptr;
  int64_t shares;
  uint64_t* lists;

  SearchParts(Parts& parts, Metric metric, Matrix<const float> queries, Matrix<const float> rows, int64_t k) {
    if (metric == Metric::kCosine || metric == Metric::kDot) {
      unit = parts.Take<float>(queries.rows * queries.cols);
      lengths = parts.Take<float>(queries.rows);
    } else if (PairOf(metric) == Pair::kProduct) {
      query_squares = parts.Take<float>(queries.rows);
    }
    if (PairOf(metric) == Pair::kProduct) row_squares = parts.Take<float>(rows.rows);
    const int64_t tiles = std::max<int64_t>(1, DivideUp(queries.rows, kSide));
    shares = std::max<int64_t>(1, std::min(DivideUp(kWantedBlocks, tiles), rows.rows / kLeastShare));
    lists = parts.Take<uint64_t>(queries.rows * shares * k);
  }
};

}  // namespace

int64_t NearestWorkspace(Metric metric, Matrix<const float> queries, Matrix<const float> rows, int64_t k) {
  Parts parts(nullptr);
  SearchParts(parts, metric, queries, rows, k);
  return parts.bytes();
}

std::string Nearest(Stream stream, Metric metric, Matrix<const float> queries, Matrix<const float> rows,
                    const int32_t* real, int64_t k, void* workspace, float* values, int32_t* indices) {
  Launches launches(stream, "nearest");
  if (queries.rows == 0) return launches.problem();
  Parts parts(workspace);
  const SearchParts own(parts, metric, queries, rows, k);
  SearchArguments g = {};
  g.metric = metric;
  g.exact = g.summed = queries.data;
  g.rows = rows.data;
  g.count = queries.rows, g.most_rows = rows.rows, g.dim = queries.cols, g.k = k;
  g.real = real;
  g.query_lengths = own.lengths, g.query_squares = own.query_squares, g.row_squares = own.row_squares;
  g.shares = own.shares;
  g.share_rows = RoundUp(DivideUp(rows.rows, own.shares), kSide);
  g.lists = own.lists;
  if (own.unit) {
    launches.Run(OneWarpEach(queries.rows), NormaliseRows<true>, queries.data, queries.rows, queries.cols,
                 own.unit, own.lengths);
    g.summed = own.unit;
    if (metric == Metric::kCosine) g.exact = own.unit;
  }
  const auto squares = SquareRows<Precision::kFloat32>;
  if (own.query_squares)
    launches.Run(OneWarpEach(queries.rows), squares, queries.data, queries.rows, queries.cols, 1.0f,
                 own.query_squares);
  if (own.row_squares)
    launches.Run(OneWarpEach(rows.rows), squares, rows.data, rows.rows, rows.cols, 1.0f, own.row_squares);
  g.summed_aligned = IsAligned(g.summed, g.dim), g.rows_aligned = IsAligned(g.rows, g.dim);
  const Grid grid = {DivideUp(queries.rows, kSide) * g.shares, kTileThreads, sizeof(SearchMemory)};
  WithPair(metric, [&](auto pair) {
    if constexpr (decltype(pair)::value != Pair::kWeightedAbsolute)
      launches.Run(grid, SearchTiles<decltype(pair)::value>, g);
  });
  launches.Run({queries.rows, kThreads, kThreads / kWarpSize * sizeof(uint64_t)}, MergeLists, g, values,
               indices);
  return launches.problem();
}

}  // namespace fslcore::cuda
