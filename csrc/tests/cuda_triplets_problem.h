// SPDX-License-Identifier: MIT
// Triplets for the tests of csrc/cuda: samples, the device's answers and the core's.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/triplets/triplets.h"
#include "cuda/triplets/triplets.h"
#include "tests/cuda_check.h"
#include "tests/device_memory.h"
#include "tests/inputs.h"
#include "tests/triplet_loops.h"

namespace fslcore {

// Labels of `classes` classes, shuffled.
inline std::vector<int64_t> Shuffled(int64_t rows, int64_t classes, unsigned seed) {
  std::vector<int64_t> labels(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) labels[static_cast<size_t>(i)] = i % std::max<int64_t>(1, classes);
  for (size_t i = labels.size(); i > 1; --i) {
    seed = seed * 1664525u + 1013904223u;
    std::swap(labels[i - 1], labels[(seed >> 8) % i]);
  }
  return labels;
}

inline Sample OfIntegers(int64_t rows, int64_t dim, int64_t classes, unsigned seed) {
  return {rows, dim, Integers(rows * dim, seed), Shuffled(rows, classes, seed)};
}

inline std::vector<float> Scaled(std::vector<float> values, float factor) {
  for (float& v : values) v *= factor;
  return values;
}

inline Lists MinedByCore(Mining mining, Metric metric, const Sample& sample) {
  const auto count = static_cast<size_t>(CountTriplets(mining, sample.given()));
  Lists lists = {std::vector<int32_t>(count), std::vector<int32_t>(count), std::vector<int32_t>(count)};
  MineTriplets({}, mining, metric, sample.view(), sample.given(), lists.anchor.data(), lists.positive.data(),
               lists.negative.data());
  return lists;
}

// The sample in device memory, and the workspace of a function on it.
class TripletsOnDevice {
 public:
  TripletsOnDevice(Mining mining, Metric metric, const Sample& sample)
      : x_(sample.x),
        labels_(sample.labels),
        real_(std::vector<int32_t>{static_cast<int32_t>(sample.real())}),
        batch_{mining,
               metric,
               {x_.get(), sample.rows, sample.dim},
               labels_.get(),
               sample.padding > 0 ? real_.get() : nullptr} {}

  const cuda::TripletBatch& batch() const { return batch_; }

 private:
  const DeviceArray<float> x_;
  const DeviceArray<int64_t> labels_;
  const DeviceArray<int32_t> real_;
  const cuda::TripletBatch batch_;
};

struct LossAndGrad {
  float loss;
  int64_t triplets;
  std::vector<float> grad;
};

inline LossAndGrad ByCore(Mining mining, Metric metric, float margin, const Sample& sample) {
  LossAndGrad out = {0.0f, 0, std::vector<float>(static_cast<size_t>(sample.rows * sample.dim), 0.0f)};
  const TripletLoss loss =
      TripletLossAndGrad({}, mining, metric, margin, sample.view(), sample.given(), out.grad.data());
  out.loss = loss.loss;
  out.triplets = loss.triplets;
  return out;
}

inline LossAndGrad ByDevice(Mining mining, Metric metric, float margin, const Sample& sample) {
  const TripletsOnDevice device(mining, metric, sample);
  const DeviceArray<char> workspace(cuda::TripletLossWorkspace(device.batch()));
  const DeviceArray<float> loss(1), grad(sample.rows * sample.dim);
  const DeviceArray<int64_t> triplets(1);
  const std::string problem = cuda::TripletLossAndGrad(nullptr, device.batch(), margin, workspace.get(),
                                                       loss.get(), grad.get(), triplets.get());
  Expect(problem.empty() && workspace.intact() && loss.intact() && grad.intact() && triplets.intact(),
         "sentinels of the loss", sample.rows, sample.dim);
  return {loss.values()[0], triplets.values()[0], grad.values()};
}

inline bool SameBits(const LossAndGrad& a, const LossAndGrad& b) {
  return std::memcmp(&a.loss, &b.loss, sizeof a.loss) == 0 && a.triplets == b.triplets &&
         (a.grad.empty() || std::memcmp(a.grad.data(), b.grad.data(), a.grad.size() * sizeof(float)) == 0);
}

// The same with blocks and threads in another order.
inline LossAndGrad ByDeviceAgain(Mining mining, Metric metric, float margin, const Sample& sample) {
#if defined(FSLCORE_CUDA_ON_CPU)
  const auto schedule = cuda_on_cpu::schedule;
  cuda_on_cpu::schedule = schedule == cuda_on_cpu::Schedule::kForwards ? cuda_on_cpu::Schedule::kShuffled
                                                                       : cuda_on_cpu::Schedule::kForwards;
  LossAndGrad out = ByDevice(mining, metric, margin, sample);
  cuda_on_cpu::schedule = schedule;
  return out;
#else
  return ByDevice(mining, metric, margin, sample);
#endif
}

inline Lists MinedByDevice(Mining mining, Metric metric, const Sample& sample) {
  const TripletsOnDevice device(mining, metric, sample);
  const DeviceArray<char> workspace(cuda::MineTripletsWorkspace(device.batch()));
  const int64_t room = CountTriplets(mining, sample.given());
  const DeviceArray<int32_t> anchor(room), positive(room), negative(room);
  cuda::MineTriplets(nullptr, device.batch(), workspace.get(), room, anchor.get(), positive.get(),
                     negative.get());
  return {anchor.values(), positive.values(), negative.values()};
}

}  // namespace fslcore
