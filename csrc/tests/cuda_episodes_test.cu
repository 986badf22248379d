// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstring>

#include "core/random/philox.h"
#include "cuda/episodes/episodes.h"
#include "tests/cuda_check.h"
#include "tests/cuda_checks.h"
#include "tests/device_memory.h"

namespace fslcore {
namespace {

using Labels = std::vector<int64_t>;

Vector<const int64_t> View(const Labels& labels) {
  return {labels.data(), static_cast<int64_t>(labels.size())};
}

// The labels of classes of these sizes, in order.
Labels Sorted(const std::vector<int64_t>& sizes) {
  Labels labels;
  for (size_t c = 0; c < sizes.size(); ++c)
    labels.insert(labels.end(), static_cast<size_t>(sizes[c]), static_cast<int64_t>(c) * 3 - 7);
  return labels;
}

Labels Shuffled(Labels labels) {
  PhiloxStream stream(11, 0, 0);
  for (size_t i = labels.size(); i > 1; --i)
    std::swap(labels[i - 1], labels[stream.Below(static_cast<uint32_t>(i))]);
  return labels;
}

int64_t Places(const EpisodeShape& shape, int64_t episodes) {
  return episodes * shape.n_way * shape.samples();
}

std::vector<int32_t> OnDevice(const Labels& labels, const EpisodeShape& shape, int64_t episodes, int64_t seed,
                              int64_t first_episode) {
  const DeviceArray<int64_t> device_labels(labels);
  const DeviceArray<int64_t> device_seed(Labels{seed}), device_first(Labels{first_episode});
  const Vector<const int64_t> view = {device_labels.get(), device_labels.size()};
  const DeviceArray<char> workspace(cuda::SampleEpisodesWorkspace(view, shape, episodes));
  const DeviceArray<int32_t> out(Places(shape, episodes));
  const std::string problem = cuda::SampleEpisodes(nullptr, view, shape, episodes, device_seed.get(),
                                                   device_first.get(), workspace.get(), out.get());
  Expect(problem.empty(), "episodes on the device", episodes, shape.n_way);
  Expect(out.intact() && workspace.intact() && device_labels.intact() && device_seed.intact() &&
             device_first.intact(),
         "sentinels of episodes", episodes, shape.n_way);
  return out.values();
}

void TestSame(const Labels& labels, const EpisodeShape& shape, int64_t episodes, int64_t seed,
              int64_t first_episode) {
  const Classes classes(View(labels));
  Expect(CheckEpisodes(classes, shape, episodes, seed, first_episode).empty(), "episodes of the test",
         shape.n_way, shape.samples());
  std::vector<int32_t> want(static_cast<size_t>(Places(shape, episodes)));
  SampleEpisodes({}, classes, shape, episodes, seed, first_episode, want.data());
  Expect(OnDevice(labels, shape, episodes, seed, first_episode) == want, "the core's episodes", shape.n_way,
         shape.samples());
}

void TestRefused(const Labels& labels, const EpisodeShape& shape, int64_t seed, int64_t first_episode) {
  Expect(!CheckEpisodes(Classes(View(labels)), shape, 3, seed, first_episode).empty(), "refused by the core",
         shape.n_way, shape.samples());
  const auto out = OnDevice(labels, shape, 3, seed, first_episode);
  Expect(std::count(out.begin(), out.end(), -1) == Places(shape, 3), "refused episodes are -1", shape.n_way,
         shape.samples());
}

void TestShapes() {
  const std::vector<int64_t> sizes = {20, 35, 64, 20, 21, 33, 70};
  const std::vector<EpisodeShape> shapes = {{1, 1, 0},  {1, 5, 15}, {5, 5, 15}, {7, 1, 0},
                                            {7, 20, 0}, {2, 1, 1},  {3, 10, 7}, {7, 1, 19}};
  for (const Labels& labels : {Sorted(sizes), Shuffled(Sorted(sizes))})
    for (const EpisodeShape& shape : shapes) TestSame(labels, shape, 9, 42, 0);
  // Rows of draws around the warp's width, up to all images of all classes, and more classes than a warp has
  // lanes.
  for (int64_t samples : {31, 32, 33, 63, 64, 65, 257})
    TestSame(Shuffled(Sorted({samples, samples})), {2, samples, 0}, 3, 5, 1);
  for (int64_t n_way : {31, 32, 33, 65})
    TestSame(Shuffled(Sorted(std::vector<int64_t>(65, 2))), {n_way, 1, 1}, 2, 6, 0);
  TestSame({4}, {1, 1, 0}, 2, 0, 0);
  TestSame({INT64_MAX, INT64_MIN, INT64_MAX, 0}, {3, 1, 0}, 5, 0, 0);
}

void TestAddresses() {
  const Labels labels = Shuffled(Sorted({9, 12, 10, 9}));
  const EpisodeShape shape = {3, 4, 5};
  for (int64_t seed : {int64_t{0}, int64_t{1} << 32, (int64_t{1} << 53) + 1, INT64_MAX})
    for (int64_t first : {int64_t{0}, (int64_t{1} << 32) - 2, int64_t{1} << 40, INT64_MAX - 5})
      TestSame(labels, shape, 5, seed, first);
  for (int64_t episodes : {0, 1, 31, 32, 33, 65}) TestSame(labels, shape, episodes, 3, 0);

  const auto all = OnDevice(labels, shape, 40, 8, 100);
  for (int64_t e : {0, 1, 17, 39}) {
    const auto alone = OnDevice(labels, shape, 1, 8, 100 + e);
    Expect(std::equal(alone.begin(), alone.end(), all.begin() + Places(shape, e)), "an episode alone", e, 0);
  }
}

// Whether some draw of the row was taken again because it would have favoured some places.
bool Rejects(int64_t seed, int64_t episode, int64_t size, int64_t samples) {
  PhiloxStream stream(static_cast<uint64_t>(seed), static_cast<uint64_t>(episode), 1);
  for (int64_t i = 0; i < samples; ++i) {
    const auto n = static_cast<uint32_t>(size - i);
    if (static_cast<uint32_t>(uint64_t{stream.Next()} * n) < (0u - n) % n) return true;
  }
  return false;
}

// One in millions, so it is looked for.
void TestRejection() {
  const int64_t size = 1000, samples = 20;
  int64_t episode = 0;
  while (!Rejects(9, episode, size, samples)) ++episode;
  TestSame(Labels(static_cast<size_t>(size), 1), {1, samples, 0}, 1, 9, episode);
}

void TestRefusals() {
  const Labels labels = Shuffled(Sorted({9, 8, 9}));
  for (const EpisodeShape shape : {EpisodeShape{4, 1, 0}, {2, 9, 0}, {2, 4, 5}, {1, 100, 100}})
    TestRefused(labels, shape, 1, 0);
  TestRefused(labels, {2, 1, 1}, -1, 0);
  TestRefused(labels, {2, 1, 1}, INT64_MIN, 0);
  TestRefused(labels, {2, 1, 1}, 0, -1);
  TestRefused({}, {1, 1, 0}, 0, 0);
  // Small is the last class only, behind many others.
  std::vector<int64_t> sizes(300, 2);
  sizes.back() = 1;
  TestRefused(Sorted(sizes), {1, 1, 1}, 0, 0);
}

}  // namespace

void CheckCudaEpisodes() {
  TestShapes();
  TestAddresses();
  TestRejection();
  TestRefusals();
}

}  // namespace fslcore
