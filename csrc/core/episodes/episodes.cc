// SPDX-License-Identifier: MIT
#include "core/episodes/episodes.h"

#include <vector>

#include "core/episodes/drawer.h"

namespace fslcore {
namespace {

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
  const auto first = static_cast<uint64_t>(first_episode);
  ParallelFor(executor, episodes, 64, [&](int64_t begin, int64_t end) {
    Drawer drawer(classes);
    std::vector<int32_t> ways(static_cast<size_t>(shape.n_way));
    for (int64_t e = begin; e < end; ++e)
      drawer.Draw(seed, static_cast<int64_t>(first + static_cast<uint64_t>(e)), shape.n_way, shape.samples(),
                  ways.data(), out + e * shape.n_way * shape.samples());
  });
}

}  // namespace fslcore
