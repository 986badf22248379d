// SPDX-License-Identifier: MIT
#include <algorithm>

#include "cuda/primitives.h"
#include "cuda/triplets/mining.h"
#include "cuda/triplets/mining_block.h"
#include "cuda/triplets/mining_use.h"

namespace fslcore::cuda::mining {
namespace {

// Blocks that are wanted for a search: what runs at once on the largest devices; few limits leave room for
// three on a multiprocessor, four times over for an even end.
constexpr int64_t kFewBlocks = 1584, kManyBlocks = 264;

// Near pairs of a tile that are evaluated one by one; with more, the tile is summed again by differences.
constexpr int kMostAlone = 64;

// A bit for each pair of a thread's part of a tile.
using Pairs = uint64_t;

__device__ __forceinline__ bool Has(Pairs pairs, int r, int c) { return pairs >> (r * kPerSide + c) & 1; }
__device__ __forceinline__ Pairs PairIf(bool condition, int r, int c) {
  return Pairs{condition} << (r * kPerSide + c);
}

// The columns of an item go by.
template <Metric kMetric, Search kSearch>
class Walk {
 public:
  __device__ Walk(const SearchedBatch& batch, BlockState<kSearch>& s)
      : batch_(batch),
        s_(s),
        tile_(static_cast<int32_t>(s.item.first_place())),
        real_(static_cast<int32_t>(RealRows(batch.rows, batch.n))) {}

  __device__ void Run() {
    for (int64_t c = s_.item.first_column; c < s_.item.last_column && c * kTileColumns < real_; ++c)
      Tile(static_cast<int32_t>(c * kTileColumns));
    __syncthreads();
  }

 private:
  // Pairs that are near each other are left out at first, and come by themselves or in a second pass.
  __device__ __forceinline__ void Tile(int32_t col) {
    float d[kPerSide][kPerSide];
    Pairs negatives = ~Pairs{0}, positives = 0;
    if (IsMixed(col)) AssignRoles(col, negatives, positives);
    SumTile<Summed::kProducts>(batch_.columns, tile_, col, s_.buffers, d);
    const Pairs near = FinishProducts(col, negatives | positives, d);
    OfferTile(col, positives, d);
    const int all = CountNear(near);
    if (all > kMostAlone) {
      SumTile<Summed::kSquaredDifferences>(batch_.columns, tile_, col, s_.buffers, d);
      FSLCORE_UNROLL
      for (int r = 0; r < kPerSide; ++r) FSLCORE_UNROLL
      for (int c = 0; c < kPerSide; ++c)
        d[r][c] = Has(near, r, c) ? MetricOfSquare(kMetric, d[r][c]) : NoNumber();
      OfferTile(col, positives, d);
    } else {
      OfferAlone(col, near, positives);
    }
  }

  // Whether there are rows of an anchor's own class among the columns, or none at all.
  __device__ bool IsMixed(int32_t col) const {
    const int32_t rows = real_ - tile_ < kTileRows ? real_ - tile_ : kTileRows;
    return (col < s_.end[rows - 1] && col + kTileColumns > s_.begin[0]) || col + kTileColumns > real_;
  }

  // Positives have a part in hard triplets only: in semi-hard ones they are limits already.
  __device__ void AssignRoles(int32_t col, Pairs& negatives, Pairs& positives) const {
    negatives = 0;
    for (int i = 0; i < kPerSide * kPerSide; ++i) {
      const int r = i / kPerSide, c = i % kPerSide, a = TileRow(r);
      const int32_t place = col + TileColumn(c);
      const bool own = s_.begin[a] <= place && place < s_.end[a];
      negatives |= PairIf(place < real_ && !own, r, c);
      if (kSearch == Search::kNearest) positives |= PairIf(own && place != tile_ + a, r, c);
    }
  }

  // The products become distances, but for the pairs that are near or not wanted.
  __device__ __forceinline__ Pairs FinishProducts(int32_t col, Pairs wanted,
                                                  float (&d)[kPerSide][kPerSide]) const {
    Pairs near_pairs = 0;
    float squares[kPerSide];
    LoadGroups(batch_.columns.squares + col + TileColumn(0), kTileColumns / 2, squares);
    FSLCORE_UNROLL
    for (int r = 0; r < kPerSide; ++r) {
      const float of_row = s_.squares[TileRow(r)];
      FSLCORE_UNROLL
      for (int c = 0; c < kPerSide; ++c) {
        bool near;
        const float distance = DistanceByProduct<kMetric>(d[r][c], of_row + squares[c], near);
        near_pairs |= PairIf(near, r, c);
        d[r][c] = near || !Has(wanted, r, c) ? NoNumber() : distance;
      }
    }
    return near_pairs & wanted;
  }

  __device__ __forceinline__ void OfferTile(int32_t col, Pairs positives, float (&d)[kPerSide][kPerSide]) {
    FSLCORE_UNROLL
    for (int r = 0; r < kPerSide; ++r) {
      const int a = TileRow(r);
      if (kSearch == Search::kNearest && positives != 0) {
        for (int c = 0; c < kPerSide; ++c)
          if (Has(positives, r, c)) OfferPositive(a, col + TileColumn(c), Select(d[r], c));
        FSLCORE_UNROLL
        for (int c = 0; c < kPerSide; ++c) d[r][c] = Has(positives, r, c) ? NoNumber() : d[r][c];
      }
      for (unsigned news = News(s_, a, d[r]); news; news &= news - 1) {
        const int c = __ffs(static_cast<int>(news)) - 1;
        Offer(batch_, a, col + TileColumn(c), Select(d[r], c), s_);
      }
    }
  }

  __device__ void OfferPositive(int a, int32_t place, float distance) {
    if (!(distance <= __uint_as_float(kInfinityBits))) return;
    const Key key = FarKeyOf(__float_as_uint(distance), batch_.classes.members[place]);
    if (key > Current(s_.farthest[a])) atomicMax(&s_.farthest[a], key);
  }

  __device__ void OfferAlone(int32_t col, Pairs near, Pairs positives) {
    for (int i = 0; i < kPerSide * kPerSide; ++i) {
      const int r = i / kPerSide, c = i % kPerSide, a = TileRow(r);
      if (!Has(near, r, c)) continue;
      const int32_t place = col + TileColumn(c);
      const float squared = SumPair<Summed::kSquaredDifferences>(batch_.columns, tile_ + a, place);
      const float distance = MetricOfSquare(kMetric, squared);
      if (Has(positives, r, c))
        OfferPositive(a, place, distance);
      else
        Offer(batch_, a, place, distance, s_);
    }
  }

  // Of the whole tile. Two counters take turns, so that one barrier is enough: those of the next tile's sums
  // lie between its use and the next.
  __device__ int CountNear(Pairs near) {
    int& count = s_.near[turn_];
    const int own = __popc(static_cast<unsigned>(near)) + __popc(static_cast<unsigned>(near >> 32));
    if (own > 0) atomicAdd(&count, own);
    __syncthreads();
    turn_ ^= 1;
    if (threadIdx.x == 0) s_.near[turn_] = 0;
    return count;
  }

  const SearchedBatch& batch_;
  BlockState<kSearch>& s_;
  const int32_t tile_, real_;
  int turn_ = 0;
};

// Where the blocks of a tile meet: true in the last of them, which then has what all have found.
template <Search kSearch>
__device__ bool Join(const SearchedBatch& batch, BlockState<kSearch>& s) {
  constexpr int kLimits = BlockState<kSearch>::kLimits;
  if (s.item.blocks == 1) return true;
  const int64_t tile = s.item.tile;
  Key* farthest = batch.farthest + tile * kTileRows;
  Key* nearest =
      (kSearch == Search::kMany ? batch.many_nearest : batch.few_nearest) + tile * kTileRows * kLimits;
  const int t = static_cast<int>(threadIdx.x);
  for (int unit = t; unit < kTileRows * kLimits; unit += kTileThreads) {
    const Key key = s.nearest[unit / kLimits][unit % kLimits];
    if ((key & kIndexBits) != kIndexBits) atomicMin(&nearest[unit], key);
  }
  if (t < kTileRows && s.farthest[t] != 0) atomicMax(&farthest[t], s.farthest[t]);
  __threadfence();
  __syncthreads();
  if (t == 0) s.last = atomicAdd(&batch.arrived[tile], 1) == s.item.blocks - 1;
  __syncthreads();
  if (!s.last) return false;
  __threadfence();
  for (int unit = t; unit < kTileRows * kLimits; unit += kTileThreads)
    s.nearest[unit / kLimits][unit % kLimits] = Current(nearest[unit]);
  if (t < kTileRows) s.farthest[t] = Current(farthest[t]);
  __syncthreads();
  return true;
}

// Turns the keys of each limit into its negative: the nearest beyond it or beyond a farther limit; if there
// is none, the farthest; if all distances are NaN, the first row of another class.
template <Search kSearch>
__device__ void Settle(const SearchedBatch& batch, BlockState<kSearch>& s) {
  const int a = static_cast<int>(threadIdx.x);
  if (a < kTileRows && s.count[a] > 0) {
    const int32_t* class_of = batch.classes.class_of;
    const int32_t* members = batch.classes.members;
    const bool first_is_other = class_of[0] != class_of[members[s.item.first_place() + a]];
    int32_t farthest = first_is_other ? 0 : *batch.other_class;
    if (kSearch != Search::kNearest && s.farthest[a] != 0) farthest = FarIndexOf(s.farthest[a]);
    Key key = ~Key{0};
    for (int slot = s.count[a] - 1; slot >= 0; --slot) {
      key = s.nearest[a][slot] < key ? s.nearest[a][slot] : key;
      s.nearest[a][slot] = KeyOf(0, (key & kIndexBits) == kIndexBits ? farthest : IndexOf(key));
    }
    if (kSearch == Search::kNearest && s.farthest[a] == 0)
      s.farthest[a] =
          FarKeyOf(0, members[s.begin[a] == s.item.first_place() + a ? s.begin[a] + 1 : s.begin[a]]);
  }
  __syncthreads();
}

// Whether anchors with so many positives are the business of a search.
template <Search kSearch>
__device__ bool Suits(int64_t positives) {
  if (kSearch == Search::kNearest) return positives > 0;
  const bool few = positives <= MostLimits(Search::kFew);
  return positives > 0 && (kSearch == Search::kFew ? few : !few);
}

// The first tile whose running sum is above `item`.
__device__ inline int64_t TileOfItem(const int64_t* until, int64_t tiles, int64_t item) {
  int64_t first = 0, count = tiles;
  while (count > 0) {
    const int64_t half = count / 2;
    if (until[first + half] <= item) {
      first += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return first;
}

// The blocks of a search: those of each tile's splits, then those that take turns at all rounds of the tiles
// that need several. Whether there is a `turn`-th item for the block.
template <Search kSearch>
__device__ bool ChooseItem(const SearchedBatch& batch, int64_t turn, Item& item) {
  const Splits& splits = kSearch == Search::kMany ? batch.many : batch.few;
  const int64_t tiles = batch.tiles(), block = blockIdx.x, first_round = tiles * splits.count;
  if (block < first_round) {
    const int64_t tile = block / splits.count, first = block % splits.count * splits.columns;
    item = {tile, 0, first, first + splits.columns, splits.count};
    return turn == 0 && Suits<kSearch>(batch.positives[tile]) && batch.rounds[tile] == 0;
  }
  const int64_t i = block - first_round + turn * batch.round_blocks;
  if (i >= batch.rounds_until[tiles - 1]) return false;
  const int64_t tile = TileOfItem(batch.rounds_until, tiles, i);
  const int64_t round = i - (batch.rounds_until[tile] - batch.rounds[tile]);
  item = {tile, round, 0, DivideUp(batch.n, kTileColumns), 1};
  return true;
}

// The triplets of the item, by the last of its blocks.
template <Metric kMetric, Search kSearch>
__device__ void UseTriplets(const SearchedBatch& batch, const TripletUse& use, BlockState<kSearch>& s) {
  BlockTriplets<kMetric, kSearch> triplets(batch, use, s);
  if (!use.sums) return triplets.List();
  const double sum = triplets.AddTerms();
  triplets.AddGradients();
  // Of one item after the other if the block has several rounds, of one alone if they are a tile's.
  const bool rounds = batch.rounds[s.item.tile] > 0;
  const int64_t round_block = static_cast<int64_t>(gridDim.x) - batch.round_blocks;
  const int64_t at = rounds ? batch.tiles() + static_cast<int64_t>(blockIdx.x) - round_block : s.item.tile;
  if (threadIdx.x == 0) use.sums[at] += sum;
}

template <Metric kMetric, Search kSearch>
__global__ void __launch_bounds__(kTileThreads, kSearch == Search::kMany ? 2 : 3)
    SearchKernel(SearchedBatch batch, TripletUse use) {
  auto& s = *SharedMemory<BlockState<kSearch>>();
  for (int64_t turn = 0;; ++turn) {
    __syncthreads();  // the state may be in use for the item before
    if (threadIdx.x == 0) s.last = ChooseItem<kSearch>(batch, turn, s.item);
    __syncthreads();
    if (!s.last) return;
    DescribeAnchors(batch, s);
    __syncthreads();
    PrepareLimits<kMetric>(batch, s);
    __syncthreads();
    Walk<kMetric, kSearch>(batch, s).Run();
    if (!Join(batch, s)) return;
    Settle(batch, s);
    UseTriplets<kMetric>(batch, use, s);
  }
}

// One thread for each tile.
__global__ void PlanTiles(SearchedBatch batch, Mining mining) {
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * kTileThreads + threadIdx.x;
  if (tile >= batch.tiles()) return;
  const int64_t real = RealRows(batch.rows, batch.n), begin = tile * kTileRows;
  const int64_t end = begin + kTileRows < real ? begin + kTileRows : real;
  int32_t positives = 0;
  if (begin < end && *batch.classes.count > 1) {
    const Classes& classes = batch.classes;
    const int32_t last = classes.class_of[classes.members[end - 1]];
    for (int32_t c = classes.class_of[classes.members[begin]]; c <= last; ++c) {
      const int32_t of_class = classes.offsets[c + 1] - classes.offsets[c] - 1;
      positives = of_class > positives ? of_class : positives;
    }
  }
  batch.positives[tile] = positives;
  const int32_t most = MostLimits(Search::kMany);
  batch.rounds[tile] = mining == Mining::kHard || positives <= most ? 0 : (positives + most - 1) / most;
}

// *other starts beyond all rows.
__global__ void FindOtherClass(SearchedBatch batch) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kTileThreads + threadIdx.x;
  if (i < RealRows(batch.rows, batch.n) && batch.classes.class_of[i] != batch.classes.class_of[0])
    atomicMin(batch.other_class, static_cast<int32_t>(i));
}

template <Metric kMetric, Search kSearch>
void Start(Launches& launches, const SearchedBatch& batch, const TripletUse& use) {
  const bool many = kSearch == Search::kMany;
  const int64_t blocks =
      batch.tiles() * (many ? batch.many : batch.few).count + (many ? batch.round_blocks : 0);
  launches.Run({blocks, kTileThreads, sizeof(BlockState<kSearch>)}, SearchKernel<kMetric, kSearch>, batch,
               use);
}

template <Metric kMetric>
void StartAll(Launches& launches, Mining mining, const SearchedBatch& batch, const TripletUse& use) {
  if (mining == Mining::kHard) return Start<kMetric, Search::kNearest>(launches, batch, use);
  Start<kMetric, Search::kFew>(launches, batch, use);
  Start<kMetric, Search::kMany>(launches, batch, use);
}

// A function of the shape alone, so that sums are in the same order on every device. No more than there may
// be rounds, none if one always does.
int64_t RoundBlocks(int64_t rows) {
  const int64_t rounds = DivideUp(rows, MostLimits(Search::kMany));
  return rows <= MostLimits(Search::kMany) ? 0 : std::min(kManyBlocks, DivideUp(rows, kTileRows) * rounds);
}

// Room for the keys in which the blocks of a tile meet.
int64_t JoinedKeys(const Splits& splits, int64_t tiles, Search search) {
  return splits.count > 1 ? tiles * kTileRows * MostLimits(search) : 0;
}

}  // namespace

Splits::Splits(int64_t rows, int64_t wanted_blocks) {
  const int64_t all_columns = DivideUp(rows, kTileColumns), tiles = DivideUp(rows, kTileRows);
  const int64_t wanted =
      std::clamp<int64_t>(wanted_blocks / std::max<int64_t>(1, tiles), 1, std::max<int64_t>(1, all_columns));
  columns = std::max<int64_t>(1, DivideUp(all_columns, wanted));
  count = std::max<int64_t>(1, DivideUp(all_columns, columns));
}

SearchedBatch::SearchedBatch(Parts& parts, Mining mining, Matrix<const float> x, const int32_t* real_rows)
    : n(x.rows),
      rows(real_rows),
      classes(parts, x.rows),
      columns(parts, x.rows, x.cols),
      other_class(parts.Take<int32_t>(1)),
      positives(parts.Take<int32_t>(tiles())),
      rounds(parts.Take<int32_t>(tiles())),
      rounds_until(parts.Take<int64_t>(tiles())),
      round_blocks(mining == Mining::kHard ? 0 : RoundBlocks(x.rows)),
      few(x.rows, kFewBlocks),
      many(x.rows, kManyBlocks),
      few_nearest(parts.Take<Key>(
          JoinedKeys(few, tiles(), mining == Mining::kHard ? Search::kNearest : Search::kFew))),
      many_nearest(parts.Take<Key>(mining == Mining::kHard ? 0 : JoinedKeys(many, tiles(), Search::kMany))),
      farthest(parts.Take<Key>(tiles() * kTileRows)),
      arrived(parts.Take<int32_t>(tiles())) {}

void SearchTriplets(Launches& launches, Mining mining, Metric metric, const SearchedBatch& batch,
                    const TripletUse& use) {
  const int64_t tiles = batch.tiles();
  if (tiles == 0) return;
  const bool hard = mining == Mining::kHard;
  launches.Fill(batch.other_class, 0x7f, 1);
  launches.Fill(batch.few_nearest, 0xff,
                JoinedKeys(batch.few, tiles, hard ? Search::kNearest : Search::kFew));
  launches.Fill(batch.many_nearest, 0xff, hard ? 0 : JoinedKeys(batch.many, tiles, Search::kMany));
  launches.Fill(batch.farthest, 0, tiles * kTileRows);
  launches.Fill(batch.arrived, 0, tiles);
  launches.Run({DivideUp(batch.n, kTileThreads), kTileThreads}, FindOtherClass, batch);
  launches.Run({DivideUp(tiles, kTileThreads), kTileThreads}, PlanTiles, batch, mining);
  RunningSums(launches, tiles, batch.rounds, batch.rounds_until, batch.classes.scratch);
  switch (metric) {
    case Metric::kSqeuclidean:
      return StartAll<Metric::kSqeuclidean>(launches, mining, batch, use);
    case Metric::kEuclidean:
      return StartAll<Metric::kEuclidean>(launches, mining, batch, use);
    default:
      return StartAll<Metric::kCosine>(launches, mining, batch, use);
  }
}

}  // namespace fslcore::cuda::mining
