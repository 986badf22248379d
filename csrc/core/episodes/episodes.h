// SPDX-License-Identifier: MIT
// N-way K-shot episodes as a pure function of (labels, seed, episode number): any episode can be drawn alone,
// in any order, on any thread.
//
// The classes are the distinct labels in increasing order, their members in increasing position. Stream 0 of
// an episode draws n_way distinct classes, stream 1 + w the distinct members of the class at way w, the first
// k_shot for support and the others for query; each by a partial Fisher-Yates shuffle on PhiloxStream::Below.
#pragma once
#include <string>

#include "core/arrays/sizes.h"
#include "core/episodes/classes.h"
#include "core/threads/parallel.h"

namespace fslcore {

struct EpisodeShape {
  int64_t n_way, k_shot, n_query;
  int64_t samples() const { return k_shot + n_query; }  // of counts that are checked
};

// Error messages, empty if all is well: of the counts and the sizes of the other arguments, and of the
// values.
std::string CheckEpisodeSizes(const EpisodeShape& shape, int64_t episodes, const Sizes& labels,
                              const Sizes& seed, const Sizes& first_episode);
std::string CheckEpisodes(const Classes& classes, const EpisodeShape& shape, int64_t episodes, int64_t seed,
                          int64_t first_episode);

// out [episodes, n_way, k_shot + n_query]: positions in the labels.
void SampleEpisodes(const Executor& executor, const Classes& classes, const EpisodeShape& shape,
                    int64_t episodes, int64_t seed, int64_t first_episode, int32_t* out);

}  // namespace fslcore
