// SPDX-License-Identifier: MIT
#include <algorithm>

#include "bench/cases.h"
#include "cuda/episodes/episodes.h"
#include "cuda/images/images.h"
#include "cuda/launch.h"

namespace fslcore::bench {
namespace {

constexpr double kGatherBar = 60;
constexpr int64_t kFromWhichBandwidthCounts = 1024;  // episodes; fewer are over before the memory is busy

// Omniglot without rotated classes, in the size that networks take.
constexpr int64_t kClasses = 1623, kStored = kClasses * 20, kSide = 28, kPixels = kSide * kSide;
constexpr EpisodeShape kShape = {5, 5, 15};

constexpr int kThreads = 256;

__global__ void Widen(const int32_t* in, int64_t n, int64_t* out) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) out[i] = in[i];
}

int64_t PicksOf(int64_t episodes) { return episodes * kShape.n_way * kShape.samples(); }

struct Episodes {
  int64_t episodes, picks;
  Buffer<int64_t> labels, seed, first_episode;
  Buffer<char> workspace;
  Buffer<int32_t> out;

  explicit Episodes(int64_t count)
      : episodes(count),
        picks(PicksOf(count)),
        labels(RoundRobinLabels(kStored, kClasses)),
        seed(std::vector<int64_t>{7}),
        first_episode(std::vector<int64_t>{0}),
        workspace(cuda::SampleEpisodesWorkspace(labels.view(), kShape, count)),
        out(picks) {}

  std::string operator()(cuda::Stream stream) const {
    return cuda::SampleEpisodes(stream, labels.view(), kShape, episodes, seed.get(), first_episode.get(),
                                workspace.get(), out.get());
  }
  double bytes() const { return 8.0 * kStored + 4.0 * static_cast<double>(picks); }
};

struct Gathered {
  Buffer<uint8_t> store;
  Buffer<int64_t> indices, turns;
  ImageChange change = {0, 0, 1.0f / 255.0f, 0.0f};
  Buffer<float> out;

  // A turn for each class of each episode, if any.
  Gathered(int64_t picks, bool turned)
      : store(RandomBytes(kStored * kPixels, 8)),
        indices(RandomNumbers(picks, kStored, 9)),
        turns(RandomNumbers(turned ? picks / kShape.samples() : 0, 4, 10)),
        out(picks * kPixels) {}

  std::string operator()(cuda::Stream stream) const {
    const Images images = {store.get(), kStored, kSide, kSide, 1};
    return cuda::GatherImages(stream, images, indices.view(), turns.view(), change, out.get());
  }
  // The store is smaller than what is picked, and is read from memory once.
  double bytes() const {
    const auto picks = static_cast<double>(indices.size());
    return std::min<double>(kStored, picks) * kPixels + picks * (4.0 * kPixels + 8.0);
  }
};

std::string Name(int64_t episodes, const char* what) {
  return std::to_string(episodes) + (episodes == 1 ? " episode" : " episodes") + " 5w5s15q" + what;
}

Case AloneCase(int64_t count) {
  const Episodes episodes(count);
  return {Name(count, ""), Work{0, 1, episodes.bytes()}, 0, episodes};
}

Case GatherCase(int64_t count, bool turned) {
  const Gathered gathered(PicksOf(count), turned);
  return {Name(count, turned ? ": gather 28 x 28, turned" : ": gather 28 x 28"), Work{0, 1, gathered.bytes()},
          count >= kFromWhichBandwidthCounts ? kGatherBar : 0, gathered};
}

Case TogetherCase(int64_t count) {
  const Episodes episodes(count);
  const Gathered gathered(episodes.picks, false);
  const Run run = [=](cuda::Stream stream) {
    const std::string problem = episodes(stream);
    if (!problem.empty()) return problem;
    cuda::Launches launches(stream, "widening the picks");
    launches.Run({DivideUp(episodes.picks, kThreads), kThreads}, Widen, episodes.out.get(), episodes.picks,
                 gathered.indices.get());
    return launches.problem().empty() ? gathered(stream) : launches.problem();
  };
  return {Name(count, " with 28 x 28 images"), Work{0, 1, episodes.bytes() + gathered.bytes()}, 0, run};
}

Repeated GatherRepeated(const std::string& name, const ImageChange& change) {
  Gathered gathered(2000, true);
  gathered.change = change;
  gathered.out = Buffer<float>(gathered.indices.size() * change.out_height(kSide) * change.out_width(kSide));
  return {name, gathered, {Result(gathered.out)}};
}

}  // namespace

std::vector<MakeCase> EpisodeCases() {
  std::vector<MakeCase> cases;
  for (int64_t count : {1, 32, 1024, 4096}) {
    cases.push_back([count] { return AloneCase(count); });
    cases.push_back([count] { return TogetherCase(count); });
    cases.push_back([count] { return GatherCase(count, false); });
    cases.push_back([count] { return GatherCase(count, true); });
  }
  return cases;
}

std::vector<MakeRepeated> EpisodeRepeats() {
  return {[] {
            const Episodes episodes(100);
            return Repeated{Name(100, ""), episodes, {Result(episodes.out), Workspace(episodes.workspace)}};
          },
          [] { return GatherRepeated("gather 28 x 28, turned", {0, 0, 0.5f, -1.0f}); },
          [] { return GatherRepeated("gather 28 x 28, turned, resized", {21, 30, 0.5f, -1.0f}); }};
}

}  // namespace fslcore::bench
