// SPDX-License-Identifier: MIT
// Random permutations as a pure function of (n, seed, number): any of them can be drawn alone, in any order,
// on any thread.
//
// A Fisher-Yates shuffle on PhiloxStream::Below, with stream 1 of the number: the permutation is the images
// of the episode of that number that takes all n images of one class (core/episodes/episodes.h).
#pragma once
#include <cstdint>
#include <string>

#include "core/arrays/sizes.h"
#include "core/threads/parallel.h"

namespace fslcore {

// Error messages, empty if all is well: of the counts and the sizes of the other arguments, and of the
// values.
std::string CheckPermutationSizes(int64_t n, int64_t count, const Sizes& seed, const Sizes& first);
std::string CheckPermutations(int64_t seed, int64_t first);

// out [count, n]: the permutations of 0..n-1 with the numbers first, first + 1, ...
void Permutations(const Executor& executor, int64_t n, int64_t count, int64_t seed, int64_t first,
                  int32_t* out);

}  // namespace fslcore
