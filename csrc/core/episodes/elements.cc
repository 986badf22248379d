// SPDX-License-Identifier: MIT
#include "core/episodes/elements.h"

#include <algorithm>

#include "core/arrays/rounding.h"
#include "core/episodes/episodes.h"
#include "core/random/permutations.h"

namespace fslcore {
namespace {

// One or more episodes as they are drawn.
struct Table {
  int64_t way, samples;
  std::vector<int32_t> numbers;    // [episodes, way] of the classes and their copies
  std::vector<int64_t> positions;  // [episodes, way, samples]
};

Table DrawTable(const ElementPlan& plan, int64_t episode, Drawer& drawer) {
  const int64_t episodes = plan.episodes();
  Table table = {plan.n_way, plan.samples(), {}, {}};
  table.numbers.resize(static_cast<size_t>(episodes * table.way));
  table.positions.resize(static_cast<size_t>(episodes * table.way * table.samples));
  for (int64_t e = 0; e < episodes; ++e)
    drawer.Draw(plan.seed, static_cast<int64_t>(static_cast<uint64_t>(episode) + static_cast<uint64_t>(e)),
                table.way, table.samples, table.numbers.data() + e * table.way,
                table.positions.data() + e * table.way * table.samples);
  return table;
}

// Uniform between two bounds: the first number of a permutation.
int64_t Between(int64_t least, int64_t largest, int64_t seed, uint64_t number) {
  return least + PhiloxStream(static_cast<uint64_t>(seed), number, 1)
                     .Below(static_cast<uint32_t>(largest - least + 1));
}

Sizes Joined(Sizes axes, std::initializer_list<int64_t> more) {
  axes.insert(axes.end(), more);
  return axes;
}

Element Sets(const ElementPlan& plan, int64_t classes, int64_t episode, Drawer& drawer) {
  const Table table = DrawTable(plan, episode, drawer);
  int64_t way = plan.n_way, shot = plan.parts[0];
  if (plan.varies()) {
    const uint64_t number = 2 * static_cast<uint64_t>(episode);
    way = Between(plan.least_way, plan.n_way, plan.other_seed, number);
    shot = Between(plan.least_shot, plan.parts[0], plan.other_seed, number + 1);
  }
  Element element;
  const Sizes leading = plan.tasks > 0 ? Sizes{plan.tasks} : Sizes{};
  int64_t begin = 0;
  for (size_t part = 0; part < plan.parts.size(); begin += plan.parts[part++]) {
    const int64_t size = part == 0 ? shot : plan.parts[part];
    ImageTable images = {Joined(leading, {way, size}), Joined(leading, {way}), {}, {}};
    for (int64_t e = 0; e < plan.episodes(); ++e)
      for (int64_t w = 0; w < way; ++w) {
        const int64_t line = e * table.way + w;
        const int64_t* positions = table.positions.data() + line * table.samples + begin;
        images.rows.insert(images.rows.end(), positions, positions + size);
        if (plan.copies > 1) images.turns.push_back(table.numbers[static_cast<size_t>(line)] / classes);
      }
    element.images.push_back(std::move(images));
  }
  return element;
}

Element Batch(const ElementPlan& plan, int64_t classes, int64_t episode, Drawer& drawer) {
  Table table = DrawTable(plan, episode, drawer);
  Element element = AxesOf(plan);
  element.images[0].rows = std::move(table.positions);
  for (const int32_t number : table.numbers)
    for (int64_t s = 0; s < table.samples; ++s) {
      element.labels.push_back(number);
      if (plan.copies > 1) element.images[0].turns.push_back(number / classes);
    }
  return element;
}

Element Minibatches(const ElementPlan& plan, int64_t classes, int64_t episode, Drawer& drawer) {
  const Table table = DrawTable(plan, episode, drawer);
  Element element = AxesOf(plan);
  ImageTable& images = element.images[0];
  const int64_t size = table.way * table.samples, dealt = plan.steps * plan.batch;
  const int64_t passes = DivideUp(dealt, size);
  std::vector<int32_t> order(static_cast<size_t>(passes * size));
  for (int64_t e = 0; e < plan.episodes(); ++e) {
    const uint64_t first =
        (static_cast<uint64_t>(episode) + static_cast<uint64_t>(e)) * static_cast<uint64_t>(passes);
    Permutations(Executor(), size, passes, plan.other_seed, static_cast<int64_t>(first), order.data());
    for (int64_t i = 0; i < dealt; ++i) {
      const int64_t place = order[static_cast<size_t>(i)], label = place / table.samples;
      element.labels.push_back(static_cast<int32_t>(label));
      images.rows.push_back(table.positions[static_cast<size_t>(e * size + place)]);
      if (plan.copies > 1)
        images.turns.push_back(table.numbers[static_cast<size_t>(e * table.way + label)] / classes);
    }
  }
  return element;
}

}  // namespace

int64_t ElementPlan::samples() const {
  int64_t sum = 0;
  for (const int64_t part : parts) sum += part;
  return sum;
}

std::string CheckPlan(const ElementPlan& plan, const Classes& classes) {
  if (plan.parts.empty()) return "parts must hold at least one number, received []";
  for (const int64_t part : plan.parts)
    if (part < 0 || part > kMostPositions)
      return "parts must be from 0 to 2^31 - 1, received " + ShapeText(plan.parts);
  if (plan.samples() > kMostPositions)
    return "parts must have a sum below 2^31, received " + ShapeText(plan.parts);
  if (plan.copies < 1 || classes.count() * plan.copies > kMostPositions)
    return "copies must make fewer than 2^31 classes, received " + std::to_string(plan.copies);
  const int64_t most = classes.count() * plan.copies;
  if (plan.n_way > most)
    return "n_way must be at most the number of classes (" + std::to_string(most) + "), received " +
           std::to_string(plan.n_way);
  // Of copies, one class each is enough for the other checks.
  const EpisodeShape shape = {std::min(plan.n_way, classes.count()), plan.parts[0],
                              plan.samples() - plan.parts[0]};
  std::string problem = FirstOf({CheckAtLeast("tasks", 0, plan.tasks),
                                 CheckEpisodes(classes, shape, plan.episodes(), plan.seed, 0),
                                 CheckAtLeast("other_seed", 0, plan.other_seed),
                                 CheckElements("an element", {plan.episodes(), plan.n_way, plan.samples()})});
  if (!problem.empty()) return problem;
  if (plan.least_way < 1 || plan.least_way > plan.n_way)
    return "least_way must be from 1 to n_way, received " + std::to_string(plan.least_way);
  if (plan.least_shot < 1 || plan.least_shot > plan.parts[0])
    return "least_shot must be from 1 to the first part, received " + std::to_string(plan.least_shot);
  if (plan.varies() && (plan.tasks > 0 || plan.form != ElementForm::kEpisodes))
    return "least_way and least_shot must not vary in an element of several tasks, or with labels";
  if (plan.form != ElementForm::kEpisodes && plan.parts.size() != 1)
    return "parts must hold one number for elements with labels, received " + ShapeText(plan.parts);
  if (plan.form == ElementForm::kBatch && plan.tasks > 0)
    return "tasks must be 0 for a batch, received " + std::to_string(plan.tasks);
  if (plan.form != ElementForm::kMinibatches) return "";
  problem = FirstOf({CheckAtLeast("tasks", 1, plan.tasks), CheckAtLeast("steps", 1, plan.steps),
                     CheckAtLeast("batch", 1, plan.batch)});
  if (!problem.empty()) return problem;
  if (plan.n_way * plan.parts[0] > kMostPositions) return "a task must have fewer than 2^31 images";
  return CheckElements("labels", {plan.tasks, plan.steps, plan.batch});
}

Element AxesOf(const ElementPlan& plan) {
  Element element;
  if (plan.form == ElementForm::kEpisodes) {
    const Sizes leading = plan.tasks > 0 ? Sizes{plan.tasks} : Sizes{};
    const int64_t way = plan.least_way < plan.n_way ? -1 : plan.n_way;
    for (size_t part = 0; part < plan.parts.size(); ++part) {
      const bool varies = part == 0 && plan.least_shot < plan.parts[0];
      element.images.push_back(
          {Joined(leading, {way, varies ? -1 : plan.parts[part]}), Joined(leading, {way}), {}, {}});
    }
    return element;
  }
  element.label_axes = plan.form == ElementForm::kBatch ? Sizes{plan.n_way * plan.samples()}
                                                        : Sizes{plan.tasks, plan.steps, plan.batch};
  element.images.push_back({element.label_axes, element.label_axes, {}, {}});
  return element;
}

Element MakeElement(const ElementPlan& plan, int64_t classes, int64_t episode, Drawer& drawer) {
  switch (plan.form) {
    case ElementForm::kBatch:
      return Batch(plan, classes, episode, drawer);
    case ElementForm::kMinibatches:
      return Minibatches(plan, classes, episode, drawer);
    default:
      return Sets(plan, classes, episode, drawer);
  }
}

}  // namespace fslcore
