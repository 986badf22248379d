// SPDX-License-Identifier: MIT
#include "core/episodes/episodes.h"

#include <utility>

#include "core/random/philox.h"

namespace fslcore {
namespace {

// Draws without replacement from 0..n-1. The swaps are undone after each draw, so the array stays the
// identity and a draw costs its own length instead of the length of the array.
class Shuffle {
 public:
  explicit Shuffle(int64_t largest) : items_(static_cast<size_t>(largest)) {
    std::iota(items_.begin(), items_.end(), 0);
  }

  template <class Take>
  void Draw(PhiloxStream stream, int64_t n, int64_t count, const Take& take) {
    swaps_.clear();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t j = i + stream.Below(static_cast<uint32_t>(n - i));
      std::swap(items_[static_cast<size_t>(i)], items_[static_cast<size_t>(j)]);
      swaps_.push_back(j);
      take(i, items_[static_cast<size_t>(i)]);
    }
    for (int64_t i = count; i-- > 0;)
      std::swap(items_[static_cast<size_t>(i)], items_[static_cast<size_t>(swaps_[static_cast<size_t>(i)])]);
  }

 private:
  std::vector<int32_t> items_;
  std::vector<int64_t> swaps_;
};

std::string Between(const char* name, int64_t least, int64_t received) {
  if (received <= kMostPositions) return CheckAtLeast(name, least, received);
  return std::string(name) + " must be below 2^31, received " + std::to_string(received);
}

}  // namespace

std::string CheckEpisodeSizes(const EpisodeShape& shape, int64_t episodes, const Sizes& labels,
                              const Sizes& seed, const Sizes& first_episode) {
  const std::string problem =
      FirstOf({Between("n_way", 1, shape.n_way), Between("k_shot", 1, shape.k_shot),
               Between("n_query", 0, shape.n_query), CheckAtLeast("episodes", 0, episodes),
               CheckAxes("labels", labels, 1), CheckAxes("seed", seed, 0),
               CheckAxes("first_episode", first_episode, 0)});
  if (!problem.empty()) return problem;
  if (labels[0] > kMostPositions)
    return "labels must hold fewer than 2^31 labels, received shape " + ShapeText(labels);
  return CheckElements("indices", {episodes, shape.n_way, shape.samples()});
}

std::string CheckEpisodes(const Classes& classes, const EpisodeShape& shape, int64_t episodes, int64_t seed,
                          int64_t first_episode) {
  const std::string problem =
      FirstOf({CheckEpisodeSizes(shape, episodes, {classes.labels()}, {}, {}), CheckAtLeast("seed", 0, seed),
               CheckAtLeast("first_episode", 0, first_episode)});
  if (!problem.empty()) return problem;
  if (shape.n_way > classes.count())
    return "n_way must be at most the number of classes (" + std::to_string(classes.count()) +
           "), received " + std::to_string(shape.n_way);
  int64_t too_small = 0, example = 0;
  for (int64_t c = classes.count(); c-- > 0;)
    if (classes.size(c) < shape.samples()) ++too_small, example = c;
  if (too_small > 0)
    return "k_shot + n_query must not exceed the images of any class, received " +
           std::to_string(shape.k_shot) + " + " + std::to_string(shape.n_query) + ", but class " +
           std::to_string(example) + " has " + std::to_string(classes.size(example)) + " (" +
           std::to_string(too_small) + " of " + std::to_string(classes.count()) + " classes are too small)";
  return "";
}

void SampleEpisodes(const Executor& executor, const Classes& classes, const EpisodeShape& shape,
                    int64_t episodes, int64_t seed, int64_t first_episode, int32_t* out) {
  int64_t largest = classes.count();
  for (int64_t c = 0; c < classes.count(); ++c) largest = std::max(largest, classes.size(c));
  ParallelFor(executor, episodes, 64, [&](int64_t begin, int64_t end) {
    Shuffle shuffle(largest);
    std::vector<int32_t> ways(static_cast<size_t>(shape.n_way));
    for (int64_t e = begin; e < end; ++e) {
      const auto stream = [&](int64_t number) {
        return PhiloxStream(static_cast<uint64_t>(seed),
                            static_cast<uint64_t>(first_episode) + static_cast<uint64_t>(e),
                            static_cast<uint32_t>(number));
      };
      shuffle.Draw(stream(0), classes.count(), shape.n_way,
                   [&](int64_t way, int32_t c) { ways[static_cast<size_t>(way)] = c; });
      for (int64_t way = 0; way < shape.n_way; ++way) {
        const int32_t c = ways[static_cast<size_t>(way)];
        int32_t* samples = out + (e * shape.n_way + way) * shape.samples();
        shuffle.Draw(stream(1 + way), classes.size(c), shape.samples(),
                     [&](int64_t i, int32_t member) { samples[i] = classes.begin(c)[member]; });
      }
    }
  });
}

}  // namespace fslcore
