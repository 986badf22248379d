// SPDX-License-Identifier: MIT
#include "cuda/primitives.h"
#include "cuda/threads.h"
#include "cuda/triplets/mining.h"
#include "cuda/triplets/mining_use.h"
#include "cuda/triplets/triplets.h"

namespace fslcore::cuda {
namespace {

using namespace mining;

// All of the workspace. To list triplets or to count them takes only a part of it.
struct Workspace {
  SearchedBatch searched;
  float *scales, *lengths;  // [n] of TermRows
  uint32_t* largest;        // scalar: bits of the largest finite |x|
  FixedPoint gradient;
  double* sums;           // [searched.parts()]
  int32_t* of_anchor;     // [n] triplets
  int64_t* listed_until;  // [n]

  Workspace(Parts& parts, const TripletBatch& batch, bool with_gradient)
      : searched(parts, batch.mining, batch.x, batch.rows),
        scales(parts.Take<float>(batch.x.rows)),
        lengths(parts.Take<float>(batch.x.rows)),
        largest(parts.Take<uint32_t>(1)),
        gradient{parts.Take<Key>(with_gradient ? batch.x.rows * batch.x.cols : 0),
                 parts.Take<int32_t>(with_gradient ? batch.x.rows : 0), parts.Take<double>(1)},
        sums(parts.Take<double>(searched.parts())),
        of_anchor(parts.Take<int32_t>(with_gradient ? 0 : batch.x.rows)),
        listed_until(parts.Take<int64_t>(with_gradient ? 0 : batch.x.rows)) {}

  TermRows rows(Matrix<const float> x) const { return {x.data, x.cols, scales, lengths}; }
};

int64_t BytesFor(const TripletBatch& batch, bool with_gradient) {
  Parts parts(nullptr);
  Workspace(parts, batch, with_gradient);
  return parts.bytes();
}

// The triplets of an anchor of a class of that size, if there is another class.
__host__ __device__ constexpr int64_t TripletsOfAnchor(Mining mining, int64_t size) {
  return IsOfPairs(mining) || size < 2 ? size - 1 : 1;
}

// In one block.
__global__ void CountKernel(Mining mining, Classes classes, int64_t* triplets) {
  int64_t* sums = SharedMemory<int64_t>();
  int64_t sum = 0;
  const int32_t count = *classes.count;
  for (int64_t c = threadIdx.x; c < count; c += kThreads) {
    const int64_t size = classes.offsets[c + 1] - classes.offsets[c];
    sum += size * TripletsOfAnchor(mining, size);
  }
  sum = WarpSum(sum);
  if (Lane() == 0) sums[threadIdx.x / kWarpSize] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kThreads / kWarpSize; ++w) sum += sums[w];
  *triplets = count > 1 ? sum : 0;
}

__global__ void CountOfAnchors(SearchedBatch batch, int32_t* of_anchor) {
  const int64_t i = ThreadOfGrid();
  if (i >= batch.n) return;
  const Classes& classes = batch.classes;
  const bool real = i < RealRows(batch.rows, batch.n) && *classes.count > 1;
  const int32_t c = real ? classes.class_of[i] : 0;
  of_anchor[i] =
      real ? static_cast<int32_t>(TripletsOfAnchor(batch.mining, classes.offsets[c + 1] - classes.offsets[c]))
           : 0;
}

__global__ void CountWritten(const int64_t* listed_until, int64_t n, int64_t room, int32_t* written) {
  const int64_t all = n > 0 ? listed_until[n - 1] : 0;
  *written = static_cast<int32_t>(all < room ? all : room);
}

// How each row is normalised, or its squared length by place; and the largest finite entry of all.
__global__ void MeasureRows(Metric metric, Matrix<const float> x, SearchedBatch batch, float* scales,
                            float* lengths, uint32_t* largest) {
  const int64_t i = WarpOfGrid();
  if (i >= x.rows || i >= RealRows(batch.rows, batch.n)) return;
  const float* row = x.data + i * x.cols;
  float greatest = 0.0f, finite = 0.0f;
  for (int64_t d = Lane(); d < x.cols; d += kWarpSize) {
    const float size = fabsf(row[d]);
    greatest = fmaxf(greatest, size);  // not NaN
    if (size <= 3.402823466e38f) finite = fmaxf(finite, size);
  }
  greatest = WarpMax(greatest);
  finite = WarpMax(finite);
  // Scaled by the largest entry first, so that neither tiny nor huge rows under- or overflow when squared.
  const float scale = metric == Metric::kCosine && greatest >= kSmallestNormal ? 1.0f / greatest : 1.0f;
  float square = 0.0f;
  for (int64_t d = Lane(); d < x.cols; d += kWarpSize) {
    const float scaled = row[d] * scale;
    square = fmaf(scaled, scaled, square);
  }
  square = WarpSum(square);
  if (Lane() != 0) return;
  scales[i] = scale;
  lengths[i] = sqrtf(square);
  batch.columns.squares[batch.classes.place[i]] = square;
  atomicMax(largest, __float_as_uint(finite));
}

constexpr int kSquare = 32;  // rows and coordinates that a block transposes

// The columns of the batch, by place; zeros where there are no rows or no coordinates.
template <Metric kMetric>
__global__ void MakeColumns(TermRows rows, SearchedBatch batch) {
  float (*square)[kSquare + 1] = SharedMemory<float[kSquare + 1]>();
  const Columns& columns = batch.columns;
  const int64_t across = columns.stride / kSquare;
  const int64_t place = blockIdx.x % across * kSquare, k = blockIdx.x / across * kSquare;
  const int64_t real = RealRows(batch.rows, batch.n);
  const int lane = Lane(), warp = static_cast<int>(threadIdx.x / kWarpSize);
  for (int i = warp; i < kSquare; i += kThreads / kWarpSize) {
    const bool present = place + i < real && k + lane < rows.dim;
    square[i][lane] = present ? TermRow<kMetric>(rows, batch.classes.members[place + i])[k + lane] : 0.0f;
  }
  __syncthreads();
  for (int i = warp; i < kSquare && k + i < columns.depth; i += kThreads / kWarpSize)
    columns.data[(k + i) * columns.stride + place + lane] = square[lane][i];
}

// The unit of the gradients: so small that no sum of them overflows. A triplet adds to a row at most twice,
// and at most slope * (x - y).
__global__ void ChooseScale(Metric metric, const uint32_t* largest, const int64_t* triplets, double* scale) {
  if (threadIdx.x != 0) return;
  const double most =
      metric == Metric::kSqeuclidean ? 4.0 * static_cast<double>(__uint_as_float(*largest)) : 4.0;
  const double bound = 2.0 * most * static_cast<double>(*triplets);
  int exponent = 0;
  if (bound > 0.0) frexp(bound, &exponent);
  *scale = ldexp(1.0, 61 - exponent);
}

// The mean of the terms, from the sums of the blocks in their order.
__global__ void FinishLoss(const double* sums, int64_t count, const int64_t* triplets, float* loss) {
  double sum = 0.0;
  for (int64_t i = Lane(); i < count; i += kWarpSize) sum += sums[i];
  sum = WarpSum(sum);
  if (Lane() == 0) *loss = *triplets > 0 ? static_cast<float>(sum / static_cast<double>(*triplets)) : 0.0f;
}

// One warp for each row: the mean, and for cosine the gradient with respect to the row itself, dx = (du - u
// <u, du>) / |x|, 0 for a zero row.
template <Metric kMetric>
__global__ void FinishGradient(TermRows rows, FixedPoint gradient, const int32_t* real, int64_t n,
                               const int64_t* triplets, float* grad) {
  const int64_t i = WarpOfGrid();
  if (i >= n) return;
  float* out = grad + i * rows.dim;
  if (i >= RealRows(real, n) || *triplets == 0) {
    for (int64_t d = Lane(); d < rows.dim; d += kWarpSize) out[d] = 0.0f;
    return;
  }
  const double count = static_cast<double>(*triplets), unit = 1.0 / *gradient.scale;
  const float spoilt = gradient.spoilt[i] ? NoNumber() : 0.0f;
  const auto mean = [&](int64_t d) {
    const auto units = static_cast<double>(static_cast<int64_t>(gradient.sums[i * rows.dim + d]));
    return static_cast<float>(units * unit / count) + spoilt;
  };
  const TermRow<kMetric> u(rows, i);
  float along = 0.0f, most = 0.0f;
  if (kMetric == Metric::kCosine) {
    for (int64_t d = Lane(); d < rows.dim; d += kWarpSize) {
      along = fmaf(u[d], mean(d), along);
      most = fmaxf(most, fabsf(mean(d)));
    }
    along = WarpSum(along);
    most = WarpMax(most);
  }
  // A row that is in no triplet has a gradient of 0 even if it holds a NaN.
  const float norm = most == 0.0f && !gradient.spoilt[i] ? 0.0f : u.length / u.scale;
  for (int64_t d = Lane(); d < rows.dim; d += kWarpSize)
    out[d] = kMetric != Metric::kCosine ? mean(d) : norm == 0.0f ? 0.0f : (mean(d) - u[d] * along) / norm;
}

template <Metric kMetric>
void Prepare(Launches& launches, const TripletBatch& batch, const Workspace& work) {
  const SearchedBatch& searched = work.searched;
  GroupByClass(launches, {batch.labels, batch.x.rows}, batch.rows, searched.classes);
  launches.Fill(searched.columns.squares, 0, searched.columns.stride);
  launches.Fill(work.largest, 0, 1);
  launches.Run(OneWarpEach(batch.x.rows), MeasureRows, batch.metric, batch.x, searched, work.scales,
               work.lengths, work.largest);
  const int64_t across = searched.columns.stride / kSquare;
  launches.Run({across * DivideUp(searched.columns.depth, kSquare), kThreads,
                kSquare * (kSquare + 1) * static_cast<int64_t>(sizeof(float))},
               MakeColumns<kMetric>, work.rows(batch.x), searched);
}

void Count(Launches& launches, Mining mining, const Classes& classes, int64_t* triplets) {
  launches.Run({1, kThreads, kThreads / kWarpSize * static_cast<int64_t>(sizeof(int64_t))}, CountKernel,
               mining, classes, triplets);
}

template <Metric kMetric>
void LossAndGrad(Launches& launches, const TripletBatch& batch, float margin, const Workspace& work,
                 float* loss, float* grad, int64_t* triplets) {
  const int64_t n = batch.x.rows, dim = batch.x.cols, blocks = work.searched.parts();
  const FixedPoint& gradient = work.gradient;
  Prepare<kMetric>(launches, batch, work);
  Count(launches, batch.mining, work.searched.classes, triplets);
  launches.Run({1, kWarpSize}, ChooseScale, batch.metric, work.largest, triplets, gradient.scale);
  launches.Fill(gradient.sums, 0, n * dim);
  launches.Fill(gradient.spoilt, 0, n);
  launches.Fill(work.sums, 0, blocks);
  TripletUse use = {};
  use.rows = work.rows(batch.x);
  use.margin = margin;
  use.gradient = gradient;
  use.sums = work.sums;
  SearchTriplets(launches, batch.metric, work.searched, use);
  launches.Run({1, kWarpSize}, FinishLoss, work.sums, blocks, triplets, loss);
  launches.Run(OneWarpEach(n), FinishGradient<kMetric>, use.rows, gradient, batch.rows, n, triplets, grad);
}

}  // namespace

int64_t TripletLossWorkspace(const TripletBatch& batch) { return BytesFor(batch, true); }
int64_t MineTripletsWorkspace(const TripletBatch& batch) { return BytesFor(batch, false); }

std::string TripletLossAndGrad(Stream stream, const TripletBatch& batch, float margin, void* workspace,
                               float* loss, float* grad, int64_t* triplets) {
  Launches launches(stream, "the triplet loss");
  Parts parts(workspace);
  const Workspace work(parts, batch, true);
  if (batch.metric == Metric::kSqeuclidean)
    LossAndGrad<Metric::kSqeuclidean>(launches, batch, margin, work, loss, grad, triplets);
  else if (batch.metric == Metric::kEuclidean)
    LossAndGrad<Metric::kEuclidean>(launches, batch, margin, work, loss, grad, triplets);
  else
    LossAndGrad<Metric::kCosine>(launches, batch, margin, work, loss, grad, triplets);
  return launches.problem();
}

std::string CountTriplets(Stream stream, const TripletBatch& batch, void* workspace, int64_t* triplets) {
  Launches launches(stream, "counting triplets");
  Parts parts(workspace);
  const Workspace work(parts, batch, false);
  GroupByClass(launches, {batch.labels, batch.x.rows}, batch.rows, work.searched.classes);
  Count(launches, batch.mining, work.searched.classes, triplets);
  return launches.problem();
}

std::string MineTriplets(Stream stream, const TripletBatch& batch, void* workspace, int64_t room,
                         int32_t* anchor, int32_t* positive, int32_t* negative, int32_t* written) {
  Launches launches(stream, "mining triplets");
  Parts parts(workspace);
  const Workspace work(parts, batch, false);
  if (batch.metric == Metric::kCosine)
    Prepare<Metric::kCosine>(launches, batch, work);
  else
    Prepare<Metric::kSqeuclidean>(launches, batch, work);  // the rows as they are
  launches.Run(OneThreadEach(batch.x.rows), CountOfAnchors, work.searched, work.of_anchor);
  RunningSums(launches, batch.x.rows, work.of_anchor, work.listed_until, work.searched.classes.scratch);
  for (int32_t* list : {anchor, positive, negative}) launches.Fill(list, 0, room);
  if (written) launches.Run({1, 1}, CountWritten, work.listed_until, batch.x.rows, room, written);
  TripletUse use = {};
  use.listed_until = work.listed_until;
  use.room = room;
  use.anchor = anchor;
  use.positive = positive;
  use.negative = negative;
  SearchTriplets(launches, batch.metric, work.searched, use);
  return launches.problem();
}

}  // namespace fslcore::cuda
