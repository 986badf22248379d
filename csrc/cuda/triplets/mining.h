// SPDX-License-Identifier: MIT
// The search for the triplets of a batch on a GPU, and what is done with each triplet once it is found; see
// cuda/triplets/triplets.h. Rows are searched in the order of their classes: the place of a row is its
// position in Classes::members.
#pragma once
#include <cstdint>

#include "core/arrays/views.h"
#include "core/pairwise/metric.h"
#include "core/triplets/triplets.h"
#include "cuda/episodes/classes.h"
#include "cuda/launch.h"
#include "cuda/pairwise/distance_tile.h"

namespace fslcore::cuda::mining {

// A distance's bits, above the row's index: in increasing order by distance, then by index.
using Key = unsigned long long;

// How the columns of a tile of anchors are shared out when there are too few tiles to fill the device.
struct Splits {
  int64_t count, columns;  // of a split, in tiles

  Splits(int64_t rows, int64_t wanted_blocks);
};

// The batch as the search reads it, in the caller's workspace.
struct SearchedBatch {
  Mining mining;
  int64_t n;            // rows, with padding
  const int32_t* rows;  // how many are real, or null
  Classes classes;
  Columns columns;        // by place; normalised for cosine
  int32_t* other_class;   // scalar: the first row that is not of the first row's class
  int32_t* positives;     // [tiles] the most that an anchor of the tile has; 0 if there are no negatives
  int32_t* rounds;        // [tiles] 0 if one round does
  int64_t* rounds_until;  // [tiles] running sums of that
  int64_t round_blocks;   // that take turns at the rounds of all tiles

  // Where the blocks of a tile meet if they are several: each anchor's candidates, and blocks that are done.
  Splits few, many;
  Key *few_nearest, *many_nearest;  // [tiles, kTileRows, limits]
  Key* farthest;                    // [tiles, kTileRows]
  int32_t* arrived;                 // [tiles]

  SearchedBatch(Parts& parts, Mining mining, Matrix<const float> x, const int32_t* rows);
  __host__ __device__ int64_t tiles() const { return DivideUp(n, kTileRows); }
  // How many parts TripletUse::sums has: one for each tile and for each block of rounds.
  __host__ __device__ int64_t parts() const { return tiles() + round_blocks; }
};

// The rows that terms and gradients are made of: x itself, for cosine normalised as it is read.
struct TermRows {
  const float* data;  // [n, dim]
  int64_t dim;
  const float *scales, *lengths;  // [n] a row is normalised as x * scale / length
};

// Sums that do not depend on the order of what is added: integers, multiples of a unit that the device
// chooses.
struct FixedPoint {
  Key* sums;        // [n, dim] two's complement
  int32_t* spoilt;  // [n] not 0 if something that is not finite was to be added to the row
  double* scale;    // scalar: units in 1
};

// What is done with the triplets: their terms are added up, or they are listed.
struct TripletUse {
  TermRows rows;
  float margin;
  FixedPoint gradient;
  double* sums;  // [SearchedBatch::parts()] of terms; null to list the triplets instead

  const int64_t* listed_until;  // [n] running sums of each anchor's triplets
  int64_t room;
  int32_t *anchor, *positive, *negative;
};

// Finds all triplets and uses them; the batch's classes and columns are there already, and everything to
// which is added is 0.
void SearchTriplets(Launches& launches, Metric metric, const SearchedBatch& batch, const TripletUse& use);

}  // namespace fslcore::cuda::mining
