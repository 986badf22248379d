// SPDX-License-Identifier: MIT
#include <algorithm>

#include "cuda/primitives.h"
#include "cuda/triplets/mining.h"
#include "cuda/triplets/mining_block.h"
#include "cuda/triplets/mining_use.h"
#include "cuda/triplets/mining_walk.h"

namespace fslcore::cuda::mining {
namespace {

// Blocks that are wanted for a search: as many as run at once on the largest devices. With few limits three
// fit a multiprocessor; four times as many are wanted, so that they end together.
constexpr int64_t kFewBlocks = 1584, kManyBlocks = 264;

// Joins what the blocks of a tile have found. Returns true in the last block to arrive, which then has it
// all.
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

// Whether a search handles anchors with `positives` positives.
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

// The blocks of a search are numbered: first the splits of each tile, then the blocks that share the rounds
// of all tiles that need several. Returns whether there is a `turn`-th item for the block.
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
__global__ void PlanTiles(SearchedBatch batch) {
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
  batch.rounds[tile] = !IsOfPairs(batch.mining) || positives <= most ? 0 : (positives + most - 1) / most;
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
void StartAll(Launches& launches, const SearchedBatch& batch, const TripletUse& use) {
  if (!IsOfPairs(batch.mining)) return Start<kMetric, Search::kNearest>(launches, batch, use);
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

SearchedBatch::SearchedBatch(Parts& parts, Mining rule, Matrix<const float> x, const int32_t* real_rows)
    : mining(rule),
      n(x.rows),
      rows(real_rows),
      classes(parts, x.rows),
      columns(parts, x.rows, x.cols),
      other_class(parts.Take<int32_t>(1)),
      positives(parts.Take<int32_t>(tiles())),
      rounds(parts.Take<int32_t>(tiles())),
      rounds_until(parts.Take<int64_t>(tiles())),
      round_blocks(IsOfPairs(rule) ? RoundBlocks(x.rows) : 0),
      few(x.rows, kFewBlocks),
      many(x.rows, kManyBlocks),
      few_nearest(
          parts.Take<Key>(JoinedKeys(few, tiles(), IsOfPairs(rule) ? Search::kFew : Search::kNearest))),
      many_nearest(parts.Take<Key>(IsOfPairs(rule) ? JoinedKeys(many, tiles(), Search::kMany) : 0)),
      farthest(parts.Take<Key>(tiles() * kTileRows)),
      arrived(parts.Take<int32_t>(tiles())) {}

void SearchTriplets(Launches& launches, Metric metric, const SearchedBatch& batch, const TripletUse& use) {
  const int64_t tiles = batch.tiles();
  if (tiles == 0) return;
  const bool pairs = IsOfPairs(batch.mining);
  launches.Fill(batch.other_class, 0x7f, 1);
  launches.Fill(batch.few_nearest, 0xff,
                JoinedKeys(batch.few, tiles, pairs ? Search::kFew : Search::kNearest));
  launches.Fill(batch.many_nearest, 0xff, pairs ? JoinedKeys(batch.many, tiles, Search::kMany) : 0);
  launches.Fill(batch.farthest, 0, tiles * kTileRows);
  launches.Fill(batch.arrived, 0, tiles);
  launches.Run({DivideUp(batch.n, kTileThreads), kTileThreads}, FindOtherClass, batch);
  launches.Run({DivideUp(tiles, kTileThreads), kTileThreads}, PlanTiles, batch);
  RunningSums(launches, tiles, batch.rounds, batch.rounds_until, batch.classes.scratch);
  switch (metric) {
    case Metric::kSqeuclidean:
      return StartAll<Metric::kSqeuclidean>(launches, batch, use);
    case Metric::kEuclidean:
      return StartAll<Metric::kEuclidean>(launches, batch, use);
    default:
      return StartAll<Metric::kCosine>(launches, batch, use);
  }
}

}  // namespace fslcore::cuda::mining
