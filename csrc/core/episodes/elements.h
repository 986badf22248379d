// SPDX-License-Identifier: MIT
// What training takes from episodes: support and query sets, batches with labels, or the shuffled
// mini-batches of inner loops. An element is a pure function of (labels, plan, number of its first episode).
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "core/arrays/sizes.h"
#include "core/episodes/drawer.h"

namespace fslcore {

// kEpisodes    sets of images per class, as many as there are parts
// kBatch       all images of one episode in a row, and the numbers of their classes
// kMinibatches the images of each task shuffled and dealt out, and the places of their classes in the task
enum class ElementForm { kEpisodes, kBatch, kMinibatches };

inline constexpr std::array<std::string_view, 3> kElementForms = {"episodes", "batch", "minibatches"};
inline const auto& NamesOf(ElementForm) { return kElementForms; }

struct ElementPlan {
  ElementForm form = ElementForm::kEpisodes;
  int64_t least_way = 1, n_way = 1;  // classes of an episode: both bounds
  int64_t least_shot = 1;            // images per class of the first part: its least number
  std::vector<int64_t> parts;        // images per class of each part; of the first, the largest number
  int64_t tasks = 0;                 // episodes of an element; 0: one, without an axis for tasks
  int64_t steps = 0, batch = 0;      // of mini-batches
  int64_t copies = 1;                // 4: each class counts four times, by its quarter turns
  int64_t seed = 0;                  // of the episodes
  int64_t other_seed = 0;            // of sizes that vary, and of the order in mini-batches

  int64_t episodes() const { return tasks > 0 ? tasks : 1; }
  int64_t samples() const;
  bool varies() const { return least_way < n_way || least_shot < parts[0]; }
};

// An error message, empty if all is well.
std::string CheckPlan(const ElementPlan& plan, const Classes& classes);

// Which images are gathered for one component of an element.
struct ImageTable {
  Sizes axes, turn_axes;       // -1 for a size that varies
  std::vector<int64_t> rows;   // positions in the labels
  std::vector<int64_t> turns;  // quarter turns, each for rows.size() / turns.size() of them
};

struct Element {
  std::vector<ImageTable> images;
  Sizes label_axes;  // empty without labels
  std::vector<int32_t> labels;
};

// The axes of the element, without rows, turns and labels.
Element AxesOf(const ElementPlan& plan);

// The element that begins with this episode; the drawer must be one of the plan's copies.
Element MakeElement(const ElementPlan& plan, int64_t classes, int64_t episode, Drawer& drawer);

}  // namespace fslcore
