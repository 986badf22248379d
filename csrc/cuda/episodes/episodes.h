// SPDX-License-Identifier: MIT
// core/episodes/episodes.h on a GPU: bit for bit the same episodes. Every pointer is to memory of the device;
// nothing is allocated, nothing waited for.
#pragma once
#include <string>

#include "core/arrays/views.h"
#include "core/episodes/episodes.h"
#include "cuda/stream.h"

namespace fslcore::cuda {

// Bytes that SampleEpisodes needs at `workspace`.
int64_t SampleEpisodesWorkspace(Vector<const int64_t> labels, const EpisodeShape& shape, int64_t episodes);

// out [episodes, n_way, k_shot + n_query]: positions in the labels. seed and first_episode are scalars.
// What CheckEpisodes would refuse in the values on the device (a negative seed or first_episode, fewer
// classes than n_way, a class of fewer images than k_shot + n_query) cannot be refused here without waiting
// for it: all of out is -1 then. The shape and the number of episodes are the caller's to check.
std::string SampleEpisodes(Stream stream, Vector<const int64_t> labels, const EpisodeShape& shape,
                           int64_t episodes, const int64_t* seed, const int64_t* first_episode,
                           void* workspace, int32_t* out);

}  // namespace fslcore::cuda
