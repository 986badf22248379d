// SPDX-License-Identifier: MIT
// Steps of Adam, exactly; and whole inner loops, whose values are tested from Python against float64: here
// what the sanitizers can see, and the threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <vector>

#include "core/fitting/adam_step.h"
#include "core/fitting/fit_classifiers.h"
#include "tests/inputs.h"

namespace fslcore {
namespace {

struct Problem {
  FitOptions options;
  Sizes images, order;
  std::vector<Sizes> weights;
  std::vector<int64_t> filters;
};

int64_t Product(const Sizes& sizes) {
  int64_t product = 1;
  for (const int64_t size : sizes) product *= size;
  return product;
}

struct Results {
  std::deque<Guarded> weights, averages, squares;
  Guarded powers, losses, logits;
  std::vector<const Guarded*> all() const {
    std::vector<const Guarded*> all = {&powers, &losses, &logits};
    for (const auto* list : {&weights, &averages, &squares})
      for (const Guarded& buffer : *list) all.push_back(&buffer);
    return all;
  }
};

Results Fit(int threads, const Problem& p) {
  const int64_t tasks = p.images[0], classes = p.weights.back()[0];
  std::deque<std::vector<float>> kept;
  const auto numbers = [&](int64_t size, float scale) {
    kept.push_back(Integers(size, static_cast<unsigned>(kept.size() + 1)));
    for (float& value : kept.back()) value *= scale;
    return kept.back().data();
  };
  const auto positive = [&](int64_t size) {
    float* data = numbers(size, 1.0f);
    for (int64_t i = 0; i < size; ++i) data[i] = std::fabs(data[i]) + 1.0f;
    return data;
  };
  Results results = {{},
                     {},
                     {},
                     Guarded(p.options.adam ? tasks : 0),
                     Guarded(tasks * p.order[1]),
                     Guarded(tasks * p.order[2] * classes)};
  FitStart start = {p.weights, {}, {}, {}, 0.5f};
  FitResults to = {{}, {}, {}, results.powers.get(), results.losses.get(), results.logits.get()};
  const auto add = [&](int64_t size, std::deque<Guarded>* buffers, std::vector<float*>* pointers) {
    buffers->emplace_back(tasks * size);
    pointers->push_back(buffers->back().get());
  };
  for (const Sizes& sizes : p.weights) {
    start.weights.push_back(numbers(Product(sizes), 0.0625f));
    add(Product(sizes), &results.weights, &to.weights);
    if (!p.options.adam) continue;
    start.squares.push_back(positive(Product(sizes)));
    add(Product(sizes), &results.squares, &to.squares);
  }
  for (const int64_t filters : p.filters)
    for (int i = 0; i < 2; ++i) {
      start.averages.push_back(positive(filters));
      add(filters, &results.averages, &to.averages);
    }
  std::vector<int32_t> labels, order;
  for (int64_t i = 0; i < tasks * p.images[1]; ++i) labels.push_back(static_cast<int32_t>(i % classes));
  for (int64_t i = 0; i < Product(p.order); ++i) order.push_back(static_cast<int32_t>(i * 7 % p.images[1]));
  const FitTasks of_tasks = {p.images, p.order, numbers(Product(p.images), 1.0f), labels.data(),
                             order.data()};
  EXPECT_EQ(CheckFitIndices(of_tasks, classes), "");
  FitClassifiers(Threads(threads), p.options, of_tasks, start, to);
  return results;
}

void CheckThreads(const Problem& p) {
  const Results want = Fit(1, p);
  for (const Guarded* buffer : want.all()) EXPECT_TRUE(buffer->intact()) << "tasks " << p.images[0];
  for (int threads : {2, 3, 8}) {
    const Results got = Fit(threads, p);
    for (size_t i = 0; i < want.all().size(); ++i)
      EXPECT_TRUE(*want.all()[i] == *got.all()[i]) << "result " << i << " by " << threads << " threads";
  }
}

enum class Place { kApart, kOverWeights, kOverGradients };  // of the new weights; TensorFlow may ask for any

// Gradients 0, 1, 3 and 7 whose squares are the mean already: with epsilon 1 nothing is rounded.
void CheckAdamStep(int64_t n, Place place) {
  SCOPED_TRACE(testing::Message() << "n " << n << ", place " << static_cast<int>(place));
  const auto weights = Integers(n, 8);
  auto gradients = Integers(n, 9);
  for (float& g : gradients) g = std::exp2(std::floor((g + 8.0f) / 4.0f)) - 1.0f;
  auto squares = gradients;
  for (float& s : squares) s *= s;

  Guarded new_weights(n), new_squares(n);
  AdamTensor tensor = {
      n, weights.data(), gradients.data(), squares.data(), new_weights.get(), new_squares.get()};
  if (place != Place::kApart) {
    const auto& source = place == Place::kOverWeights ? weights : gradients;
    (place == Place::kOverWeights ? tensor.weights : tensor.gradients) = new_weights.get();
    tensor.squares = new_squares.get();
    std::copy(source.begin(), source.end(), new_weights.get());
    std::copy(squares.begin(), squares.end(), new_squares.get());
  }
  EXPECT_EQ(AdamStep({0.5f, 0.75f, 0.25f, 1.0f}, {tensor}, 1.0f), 0.75f);
  EXPECT_TRUE(new_weights.intact() && new_squares.intact());
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i);
    EXPECT_EQ(new_weights.get()[i], weights[at] - 0.25f * gradients[at] / (gradients[at] + 1.0f));
    EXPECT_EQ(new_squares.get()[i], squares[at]);
  }
}

TEST(AdamStep, AllSizesAndPlaces) {
  for (Place place : {Place::kApart, Place::kOverWeights, Place::kOverGradients})
    for (int64_t n : EdgeSizes()) CheckAdamStep(n, place);
}

TEST(FitClassifiers, ThreadsDoNotChangeTheResults) {
  const AdamSettings adam = {0.01f, 0.75f, 0.25f, 0.125f};
  for (int64_t tasks : {0, 1, 2, 5})
    for (const bool with_adam : {false, true})
      for (Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
        FitOptions options = {{{2, 1, 0.5f, precision}, {1, 2, 0.5f, precision}}, {0.5f, 0.9f}, 0.01f, {}};
        if (with_adam) options.adam = adam;
        CheckThreads({options,
                      {tasks, 9, 9, 7, 3},
                      {tasks, 3, 8},
                      {{3, 3, 3, 17}, {17}, {17}, {3, 3, 17, 16}, {16}, {16}, {64, 4}, {4}},
                      {17, 16}});
      }
}

}  // namespace
}  // namespace fslcore
