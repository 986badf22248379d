// SPDX-License-Identifier: MIT
// Episodes drawn on a GPU. A partial Fisher-Yates shuffle swaps place i of 0..n-1 with the place j[i] >= i
// that its stream draws, and takes what comes to i. The array is not needed for that, only the j: what stood
// at place p when draw i took it was put there by the latest swap s < i with j[s] = p, and came from place s;
// what stood at s then by the latest swap before that with j = s; and so on, down to a place that no swap
// had touched and that holds its own number. So each row of draws writes its j to where its samples go (one
// thread: a stream is read in order), and then each of its draws is followed back alone (one lane). The
// latter takes samples^2 / 2 comparisons per row and no memory.
#include "core/random/philox.h"
#include "cuda/episodes/classes.h"
#include "cuda/episodes/episodes.h"
#include "cuda/threads.h"

namespace fslcore::cuda {
namespace {

constexpr int kRows =
    kWarpSize;  // of draws to a block: its first warp draws them, all of its warps follow them

struct Workspace {
  Classes classes;
  int32_t* ways;     // [episodes, n_way] the class at each way
  int32_t* refused;  // scalar, not 0 if there are no such episodes

  Workspace(Parts& parts, int64_t labels, const EpisodeShape& shape, int64_t episodes)
      : classes(parts, labels),
        ways(parts.Take<int32_t>(episodes * shape.n_way)),
        refused(parts.Take<int32_t>(1)) {}
};

// What CheckEpisodes says of values that only the device knows.
__global__ void Refuse(Classes classes, int64_t n_way, int64_t samples, const int64_t* seed,
                       const int64_t* first_episode, int32_t* refused) {
  const int64_t i = ThreadOfGrid();
  const int64_t count = *classes.count;
  if (i == 0 && (*seed < 0 || *first_episode < 0 || n_way > count)) atomicOr(refused, 1);
  if (i < count && classes.offsets[i + 1] - classes.offsets[i] < samples) atomicOr(refused, 1);
}

__device__ PhiloxStream StreamOf(const int64_t* seed, const int64_t* first_episode, int64_t episode,
                                 int64_t number) {
  return PhiloxStream(static_cast<uint64_t>(*seed),
                      static_cast<uint64_t>(*first_episode) + static_cast<uint64_t>(episode),
                      static_cast<uint32_t>(number));
}

// A row for each episode: its classes.
struct ClassRows {
  const int64_t *seed, *first_episode;
  const int32_t* classes;

  __device__ PhiloxStream Stream(int64_t row) const { return StreamOf(seed, first_episode, row, 0); }
  __device__ int32_t Size(int64_t) const { return *classes; }
  __device__ int32_t Item(int64_t, int32_t place) const { return place; }
};

// A row for each way of each episode: members of its class.
struct MemberRows {
  const int64_t *seed, *first_episode;
  const int32_t *offsets, *members, *ways;
  int64_t n_way;

  __device__ PhiloxStream Stream(int64_t row) const {
    return StreamOf(seed, first_episode, row / n_way, 1 + row % n_way);
  }
  __device__ int32_t Size(int64_t row) const { return offsets[ways[row] + 1] - offsets[ways[row]]; }
  __device__ int32_t Item(int64_t row, int32_t place) const { return members[offsets[ways[row]] + place]; }
};

// By one warp, the last draws first: those that others lead back to must not have been replaced yet.
template <class Rows>
__device__ void Follow(const Rows& of, int64_t row, int32_t samples, int32_t* drawn) {
  const int lane = Lane();
  for (int32_t begin = (samples - 1) / kWarpSize * kWarpSize; begin >= 0; begin -= kWarpSize) {
    const int32_t i = begin + lane, end = begin + kWarpSize < samples ? begin + kWarpSize : samples;
    int32_t place = i < samples ? drawn[i] : 0;
    for (int32_t swap = end - 2; swap >= 0; --swap)
      if (drawn[swap] == place && swap < i) place = swap;
    __syncwarp();
    if (i < samples) drawn[i] = of.Item(row, place);
  }
}

// out [rows, samples].
template <class Rows>
__global__ void __launch_bounds__(kThreads)
    Draw(Rows of, int64_t rows, int64_t samples, const int32_t* refused, int32_t* out) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRows;
  const int64_t last = first + kRows < rows ? first + kRows : rows;
  if (*refused) {
    for (int64_t i = first * samples + threadIdx.x; i < last * samples; i += kThreads) out[i] = -1;
    return;
  }
  // From here on a row is no longer than a class.
  if (const int64_t row = first + threadIdx.x; row < last) {
    PhiloxStream stream = of.Stream(row);
    const int32_t size = of.Size(row);
    for (int32_t i = 0; i < samples; ++i)
      out[row * samples + i] = i + static_cast<int32_t>(stream.Below(static_cast<uint32_t>(size - i)));
  }
  __syncthreads();
  for (int64_t row = first + threadIdx.x / kWarpSize; row < last; row += kThreads / kWarpSize)
    Follow(of, row, static_cast<int32_t>(samples), out + row * samples);
}

}  // namespace

int64_t SampleEpisodesWorkspace(Vector<const int64_t> labels, const EpisodeShape& shape, int64_t episodes) {
  Parts parts(nullptr);
  Workspace(parts, labels.size, shape, episodes);
  return parts.bytes();
}

std::string SampleEpisodes(Stream stream, Vector<const int64_t> labels, const EpisodeShape& shape,
                           int64_t episodes, const int64_t* seed, const int64_t* first_episode,
                           void* workspace, int32_t* out) {
  Parts parts(workspace);
  const Workspace own(parts, labels.size, shape, episodes);
  const Classes& classes = own.classes;
  const int64_t samples = shape.samples(), rows = episodes * shape.n_way;
  Launches launches(stream, "drawing episodes");
  GroupByClass(launches, labels, nullptr, classes);
  launches.Fill(own.refused, 0, 1);
  launches.Run(OneThreadEach(labels.size + 1), Refuse, classes, shape.n_way, samples, seed, first_episode,
               own.refused);
  launches.Run({DivideUp(episodes, kRows), kThreads}, Draw<ClassRows>,
               ClassRows{seed, first_episode, classes.count}, episodes, shape.n_way, own.refused, own.ways);
  launches.Run({DivideUp(rows, kRows), kThreads}, Draw<MemberRows>,
               MemberRows{seed, first_episode, classes.offsets, classes.members, own.ways, shape.n_way}, rows,
               samples, own.refused, out);
  return launches.problem();
}

}  // namespace fslcore::cuda
