// SPDX-License-Identifier: MIT
#include "core/fitting/fit_classifiers.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/arrays/scratch.h"
#include "core/convolution/thin_block.h"
#include "core/simd/row_kernels.h"
#include "core/threads/team.h"

namespace fslcore {
namespace {

int64_t Product(const Sizes& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<int64_t>());
}

// The images of a step as [batch, height, width, channels].
Sizes StepSizes(const Sizes& images, const Sizes& order) {
  return {order[2], images[2], images[3], images[4]};
}

// The mean over the rows of logits; writes its gradient.
float CrossEntropy(const float* logits, const int32_t* labels, int64_t rows, int64_t classes, float* grad) {
  double loss = 0.0;
  for (int64_t r = 0; r < rows; ++r, logits += classes, grad += classes) {
    const double largest = *std::max_element(logits, logits + classes);
    double sum = 0.0;
    for (int64_t c = 0; c < classes; ++c) sum += std::exp(logits[c] - largest);
    loss += std::log(sum) + largest - logits[labels[r]];
    for (int64_t c = 0; c < classes; ++c)
      grad[c] = static_cast<float>((std::exp(logits[c] - largest) / sum - (c == labels[r] ? 1.0 : 0.0)) /
                                   static_cast<double>(rows));
  }
  return static_cast<float>(loss / static_cast<double>(rows));
}

// The linear layer by its transposed kernel [classes, features].
struct Linear {
  int64_t rows, features, classes;
  Scratch<float> kernel, kernel_grad, logits_grad;

  Linear(int64_t rows, int64_t features, int64_t classes)
      : rows(rows),
        features(features),
        classes(classes),
        kernel(features * classes),
        kernel_grad(features * classes),
        logits_grad(rows * classes) {}

  void Apply(const float* x, const float* weights, const float* bias, float* logits) const {
    simd::Rows().transpose(weights, classes, features, classes, kernel.get(), features);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < classes; ++c)
        logits[r * classes + c] =
            bias[c] + simd::Rows().dot(x + r * features, kernel.get() + c * features, features);
  }

  // From the gradient of the logits.
  void Gradient(const float* x, float* x_grad, float* weights_grad, float* bias_grad) const {
    std::fill(x_grad, x_grad + rows * features, 0.0f);
    std::fill(bias_grad, bias_grad + classes, 0.0f);
    std::fill(kernel_grad.get(), kernel_grad.get() + features * classes, 0.0f);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < classes; ++c) {
        const float d = logits_grad[r * classes + c];
        simd::Rows().axpy(d, x + r * features, kernel_grad.get() + c * features, features);
        simd::Rows().axpy(d, kernel.get() + c * features, x_grad + r * features, features);
        bias_grad[c] += d;
      }
    simd::Rows().transpose(kernel_grad.get(), features, classes, features, weights_grad, classes);
  }
};

// A block, what it leaves for its gradient, and the gradient of its outputs.
struct BlockState {
  ConvBlockShape shape;
  Scratch<float> outputs, maps, mean, variance, outputs_grad;

  explicit BlockState(const ConvBlockShape& shape)
      : shape(shape),
        outputs(shape.conv.count * shape.outputs_size()),
        maps(keeps_maps() ? shape.conv.count * shape.conv.maps_size() : 0),
        mean(shape.conv.filters),
        variance(shape.conv.filters),
        outputs_grad(shape.conv.count * shape.outputs_size()) {}

  bool keeps_maps() const { return KeepsMaps(shape.conv) && !IsThin(shape.conv); }
  float* kept_maps() const { return keeps_maps() ? maps.get() : nullptr; }
};

// Each block with the images that the one before gives.
std::vector<BlockState> BlockStates(const std::vector<ConvBlockOptions>& blocks, Sizes images,
                                    const std::vector<Sizes>& weights) {
  std::vector<BlockState> states;
  for (size_t b = 0; b < blocks.size(); ++b) {
    states.emplace_back(ConvBlockShapeOf(images, weights[3 * b], blocks[b]));
    images = states.back().shape.output_sizes();
  }
  return states;
}

void Move(float* average, const float* value, float momentum, int64_t size) {
  for (int64_t i = 0; i < size; ++i) average[i] = average[i] * momentum + value[i] * (1.0f - momentum);
}

// Copies what all tasks start from to its place among the results of one.
std::vector<float*> CopyOf(const std::vector<const float*>& start, const std::vector<float*>& results,
                           const std::vector<int64_t>& sizes, int64_t task) {
  std::vector<float*> copies;
  for (size_t i = 0; i < start.size(); ++i) {
    copies.push_back(results[i] + task * sizes[i]);
    std::copy(start[i], start[i] + sizes[i], copies.back());
  }
  return copies;
}

constexpr int64_t kPiece = 1 << 14;  // floats

void FitTask(const Executor& executor, const FitOptions& options, const FitTasks& tasks,
             const FitStart& start, const FitResults& results, int64_t task) {
  const int64_t images_each = tasks.image_sizes[1], steps = tasks.order_sizes[1],
                batch = tasks.order_sizes[2];
  const auto states =
      BlockStates(options.blocks, StepSizes(tasks.image_sizes, tasks.order_sizes), start.weight_sizes);
  const size_t block_count = states.size(), linear_at = 3 * block_count;
  const Linear linear(batch, start.weight_sizes[linear_at][0], start.weight_sizes[linear_at][1]);

  std::vector<int64_t> weight_sizes, average_sizes;
  for (const Sizes& sizes : start.weight_sizes) weight_sizes.push_back(Product(sizes));
  for (const BlockState& s : states) average_sizes.insert(average_sizes.end(), 2, s.shape.conv.filters);
  const auto weights = CopyOf(start.weights, results.weights, weight_sizes, task);
  const auto averages = CopyOf(start.averages, results.averages, average_sizes, task);
  const auto squares = CopyOf(start.squares, results.squares, weight_sizes, task);
  float power = start.power;

  std::vector<Scratch<float>> gradients;
  for (const int64_t size : weight_sizes) gradients.emplace_back(size);
  // All weights, in pieces for the threads; without Adam there are no squares.
  std::vector<AdamTensor> pieces;
  for (size_t i = 0; i < weights.size(); ++i)
    for (int64_t at = 0; at < weight_sizes[i]; at += kPiece) {
      float* square = options.adam ? squares[i] + at : nullptr;
      pieces.push_back({std::min(kPiece, weight_sizes[i] - at), weights[i] + at, gradients[i].get() + at,
                        square, weights[i] + at, square});
    }

  const int64_t image_size = states[0].shape.conv.image_size();
  const Scratch<float> images(batch * image_size);
  const Scratch<int32_t> labels(batch);
  const auto inputs_of = [&](size_t b) -> ConvBlockInputs {
    return {b ? states[b - 1].outputs.get() : images.get(), weights[3 * b], weights[3 * b + 1],
            weights[3 * b + 2], options.blocks[b].epsilon};
  };
  const BlockState& last = states.back();
  float* logits = results.logits + task * batch * linear.classes;
  for (int64_t step = 0; step < steps; ++step) {
    for (int64_t i = 0; i < batch; ++i) {
      const int64_t image = task * images_each + tasks.order[(task * steps + step) * batch + i];
      std::copy_n(tasks.images + image * image_size, image_size, images.get() + i * image_size);
      labels[i] = tasks.labels[image];
    }
    for (size_t b = 0; b < block_count; ++b) {
      const BlockState& s = states[b];
      ConvBlock(executor, s.shape, inputs_of(b),
                {s.outputs.get(), s.kept_maps(), s.mean.get(), s.variance.get()});
      Move(averages[2 * b], s.mean.get(), options.momenta[b], s.shape.conv.filters);
      Move(averages[2 * b + 1], s.variance.get(), options.momenta[b], s.shape.conv.filters);
    }
    linear.Apply(last.outputs.get(), weights[linear_at], weights[linear_at + 1], logits);
    results.losses[task * steps + step] =
        CrossEntropy(logits, labels.get(), batch, linear.classes, linear.logits_grad.get());

    linear.Gradient(last.outputs.get(), last.outputs_grad.get(), gradients[linear_at].get(),
                    gradients[linear_at + 1].get());
    for (size_t b = block_count; b-- > 0;) {
      const BlockState& s = states[b];
      ConvBlockGrad(executor, s.shape, inputs_of(b), {s.kept_maps(), s.mean.get(), s.variance.get()},
                    s.outputs_grad.get(),
                    {b ? states[b - 1].outputs_grad.get() : nullptr, gradients[3 * b].get(),
                     gradients[3 * b + 1].get(), gradients[3 * b + 2].get()});
    }
    ParallelFor(executor, static_cast<int64_t>(pieces.size()), 1, [&](int64_t index, int64_t) {
      const AdamTensor& piece = pieces[static_cast<size_t>(index)];
      if (options.adam)
        AdamStep(*options.adam, {piece}, power);
      else
        simd::Rows().axpy(-options.learning_rate, piece.gradients, piece.new_weights, piece.size);
    });
    if (options.adam) power *= options.adam->beta_2;
  }
  if (options.adam) results.powers[task] = power;
}

std::string CheckCount(const char* name, size_t received, size_t expected) {
  if (received == expected) return "";
  return std::string(name) + " must hold " + std::to_string(expected) + " tensors, received " +
         std::to_string(received);
}

std::string CheckIndices(const char* name, const int32_t* values, int64_t count, int64_t limit) {
  for (int64_t i = 0; i < count; ++i)
    if (values[i] < 0 || values[i] >= limit)
      return std::string(name) + " must be from 0 to " + std::to_string(limit - 1) + ", received " +
             std::to_string(values[i]);
  return "";
}

}  // namespace

std::string CheckFitClassifiers(const FitOptions& options, const Sizes& images, const Sizes& labels,
                                const Sizes& order, const std::vector<Sizes>& weights,
                                const std::vector<Sizes>& averages, const std::vector<Sizes>& memory) {
  const size_t blocks = options.blocks.size();
  if (blocks == 0 || options.momenta.size() != blocks)
    return "there must be a block, and a momentum for each, received " + std::to_string(blocks) +
           " blocks and " + std::to_string(options.momenta.size()) + " momenta";
  if (images.size() != 5) return "images must have 5 axes, received shape " + ShapeText(images);
  std::string problem = CheckSizes("labels", labels, {images[0], images[1]});
  if (!problem.empty()) return problem;
  if (order.size() != 3 || order[0] != images[0] || order[1] < 1 || order[2] < 1)
    return "order must have shape [" + std::to_string(images[0]) +
           ", steps, batch] with at least one of each, received shape " + ShapeText(order);
  problem = CheckCount("weights", weights.size(), 3 * blocks + 2);
  if (problem.empty()) problem = CheckCount("averages", averages.size(), 2 * blocks);
  if (problem.empty()) problem = CheckCount("memory", memory.size(), options.adam ? weights.size() + 1 : 0);
  if (!problem.empty()) return problem;

  Sizes outputs = StepSizes(images, order);
  for (size_t b = 0; b < blocks; ++b) {
    problem =
        CheckConvBlock(outputs, weights[3 * b], weights[3 * b + 1], weights[3 * b + 2], options.blocks[b]);
    if (!problem.empty()) return "block " + std::to_string(b) + ": " + problem;
    const ConvBlockShape shape = ConvBlockShapeOf(outputs, weights[3 * b], options.blocks[b]);
    outputs = shape.output_sizes();
    for (size_t i : {2 * b, 2 * b + 1}) {
      problem = CheckSizes("averages[" + std::to_string(i) + "]", averages[i], {shape.conv.filters});
      if (!problem.empty()) return problem;
    }
  }
  const Sizes &kernel = weights[3 * blocks], &bias = weights[3 * blocks + 1];
  const int64_t features = outputs[1] * outputs[2] * outputs[3];
  if (bias.size() != 1 || bias[0] < 1)
    return "the last of the weights must have shape [classes], received shape " + ShapeText(bias);
  problem = CheckSizes("weights[" + std::to_string(3 * blocks) + "]", kernel, {features, bias[0]});
  for (size_t i = 0; problem.empty() && i < memory.size(); ++i)
    problem =
        CheckSizes("memory[" + std::to_string(i) + "]", memory[i], i < weights.size() ? weights[i] : Sizes());
  return problem;
}

std::string CheckFitIndices(const FitTasks& tasks, int64_t classes) {
  const int64_t images = tasks.image_sizes[1];
  const std::string problem = CheckIndices("labels", tasks.labels, tasks.image_sizes[0] * images, classes);
  return problem.empty() ? CheckIndices("order", tasks.order, Product(tasks.order_sizes), images) : problem;
}

void FitClassifiers(const Executor& executor, const FitOptions& options, const FitTasks& tasks,
                    const FitStart& start, const FitResults& results) {
  const int64_t count = tasks.image_sizes[0], threads = std::max(1, executor.threads);
  // As many as possible on one thread each; the rest, fewer than there are threads, on several each.
  const int64_t alone = count / threads * threads, rest = count - alone;
  ParallelFor(executor, alone, 1,
              [&](int64_t task, int64_t) { FitTask(Executor(), options, tasks, start, results, task); });
  const Executor shared = {static_cast<int>(threads / std::max<int64_t>(1, rest)), executor.schedule};
  ParallelFor(executor, rest, 1, [&](int64_t task, int64_t) {
    FitTask(Team(shared).executor(), options, tasks, start, results, alone + task);
  });
}

}  // namespace fslcore
