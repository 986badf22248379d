// SPDX-License-Identifier: MIT
// The values are tested from Python, against float64; here what the sanitizers can see, and the threads.
#include <atomic>
#include <cmath>
#include <deque>
#include <functional>
#include <vector>

#include "core/fitting/fit_classifiers.h"
#include "core/threads/team.h"
#include "tests/check.h"
#include "tests/conv_test.h"

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
  Expect(CheckFitIndices(of_tasks, classes).empty(), "indices", tasks, threads);
  FitClassifiers(Threads(threads), p.options, of_tasks, start, to);
  return results;
}

void TestThreads(const Problem& p) {
  const Results want = Fit(1, p);
  for (const Guarded* buffer : want.all()) Expect(buffer->intact(), "sentinels of tasks", p.images[0], 1);
  for (int threads : {2, 3, 8}) {
    const Results got = Fit(threads, p);
    for (size_t i = 0; i < want.all().size(); ++i)
      Expect(*want.all()[i] == *got.all()[i], "threads change tasks", static_cast<int64_t>(i), threads);
  }
}

// Loops of all sizes one after the other, by teams that come and go: every element once. Some pools are full,
// and have the caller run what it schedules.
void TestTeam() {
  std::vector<Executor> executors = {{3, [](const std::function<void()>& task) { task(); }}};
  for (int threads : {1, 2, 3, 8}) executors.push_back(Threads(threads));
  for (const Executor& whole : executors) {
    for (int team = 0; team < 20; ++team) {
      const Team members(whole);
      for (int64_t count : {0, 1, 2, 7, 100}) {
        std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
        for (Order order : {Order::kForward, Order::kBackward})
          ParallelFor(
              members.executor(), count, 3,
              [&](int64_t begin, int64_t end) {
                for (; begin < end; ++begin) ++visits[static_cast<size_t>(begin)];
              },
              order);
        for (const auto& visit : visits) Expect(visit == 2, "visits", count, whole.threads);
      }
    }
  }
}

}  // namespace

void TestFits() {
  TestTeam();
  const AdamSettings adam = {0.01f, 0.75f, 0.25f, 0.125f};
  for (int64_t tasks : {0, 1, 2, 5})
    for (const bool with_adam : {false, true})
      for (Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
        FitOptions options = {{{2, 1, 0.5f, precision}, {1, 2, 0.5f, precision}}, {0.5f, 0.9f}, 0.01f, {}};
        if (with_adam) options.adam = adam;
        TestThreads({options,
                     {tasks, 9, 9, 7, 3},
                     {tasks, 3, 8},
                     {{3, 3, 3, 17}, {17}, {17}, {3, 3, 17, 16}, {16}, {16}, {64, 4}, {4}},
                     {17, 16}});
      }
}

}  // namespace fslcore
