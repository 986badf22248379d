// SPDX-License-Identifier: MIT
// The inner loop of meta-learning: a small classifier is fitted to each of several tasks, from the same
// weights, by gradient steps on mini-batches,
//
//   logits = flatten(block_n(... block_1(images))) * kernel + bias       blocks as in conv_block.h
//   loss   = mean over the batch of the cross-entropy of the softmax of the logits
//
// with gradient descent or Adam without momentum (adam_step.h). Blocks normalise by the batch at hand, and
// move averages of its statistics: average' = momentum * average + (1 - momentum) * statistics.
//
// As many tasks as there are threads run side by side, each on one thread. The tasks that are left over,
// fewer than there are threads, have an equal number of threads each. Maps, gradients and weights stay where
// the last step left them, so that a task costs little more than its convolutions. Results do not depend on
// the number of threads.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/arrays/sizes.h"
#include "core/convolution/conv_block.h"
#include "core/fitting/adam_step.h"
#include "core/threads/parallel.h"

namespace fslcore {

struct FitOptions {
  std::vector<ConvBlockOptions> blocks;
  std::vector<float> momenta;  // of the averages of each block
  float learning_rate;
  std::optional<AdamSettings> adam;  // none: gradient descent
};

// The data of the tasks; `order` holds the images of each step.
struct FitTasks {
  Sizes image_sizes, order_sizes;  // [tasks, images_each, height, width, channels], [tasks, steps, batch]
  const float* images;
  const int32_t* labels;  // [tasks, images_each]
  const int32_t* order;
};

// The weights are kernel, gamma and beta of each block, then kernel [features, classes] and bias [classes] of
// the linear layer; the averages mean and variance of each block, [filters].
struct FitStart {
  std::vector<Sizes> weight_sizes;
  std::vector<const float*> weights, averages;
  std::vector<const float*> squares;  // for Adam: of the gradients, like the weights
  float power;                        // for Adam: beta_2 to the power of the steps so far
};

// Everything that FitStart has, for each task: [tasks, ...].
struct FitResults {
  std::vector<float*> weights, averages, squares;
  float* powers;  // [tasks]
  float* losses;  // [tasks, steps], before each step
  float* logits;  // [tasks, batch, classes], before the last step
};

// Error messages, empty if all is well. The memory is what Adam has, the squares and then the power; without
// Adam there is none.
std::string CheckFitClassifiers(const FitOptions& options, const Sizes& images, const Sizes& labels,
                                const Sizes& order, const std::vector<Sizes>& weights,
                                const std::vector<Sizes>& averages, const std::vector<Sizes>& memory);
std::string CheckFitIndices(const FitTasks& tasks, int64_t classes);  // of good shapes

void FitClassifiers(const Executor& executor, const FitOptions& options, const FitTasks& tasks,
                    const FitStart& start, const FitResults& results);

}  // namespace fslcore
