// SPDX-License-Identifier: MIT
// Labels grouped by class, sorting and running sums, against the core's index and plain loops.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "core/episodes/classes.h"
#include "cuda/episodes/classes.h"
#include "cuda/primitives.h"
#include "tests/cuda_check.h"
#include "tests/cuda_checks.h"
#include "tests/device_memory.h"

namespace fslcore {
namespace {

const std::vector<int64_t> kCounts = {0, 1, 2, 31, 33, 64, 129, 255, 256, 257};

// What lies at `part` of a workspace whose bytes were copied to the host.
template <class T>
std::vector<T> PartOf(const DeviceArray<char>& workspace, const std::vector<char>& bytes, const T* part,
                      int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  const auto at = static_cast<size_t>(reinterpret_cast<const char*>(part) - workspace.get());
  if (count > 0) std::memcpy(values.data(), bytes.data() + at, values.size() * sizeof(T));
  return values;
}

// Everything that Classes promises, for the first `real` labels.
void CheckGrouping(const std::vector<int64_t>& labels, int64_t real, bool all) {
  const auto n = static_cast<int64_t>(labels.size());
  const DeviceArray<int64_t> given(labels);
  const DeviceArray<int32_t> rows(std::vector<int32_t>{static_cast<int32_t>(real)});
  cuda::Parts measured(nullptr);
  const cuda::Classes unused(measured, n);
  const DeviceArray<char> workspace(measured.bytes());
  cuda::Parts parts(workspace.get());
  const cuda::Classes classes(parts, n);
  cuda::Launches launches(nullptr, "grouping");
  cuda::GroupByClass(launches, {given.get(), n}, all ? nullptr : rows.get(), classes);
  Expect(launches.problem().empty() && workspace.intact() && given.values() == labels, "grouping", n, real);

  const Classes want({labels.data(), real});
  const Membership membership(want);
  const std::vector<char> bytes = workspace.values();
  const int64_t count = PartOf(workspace, bytes, classes.count, 1)[0];
  Expect(count == std::max<int64_t>(0, want.count()), "number of classes", n, real);
  if (real > 0)
    Expect(PartOf(workspace, bytes, classes.offsets, count + 1) == want.offsets, "offsets", n, real);
  else
    Expect(PartOf(workspace, bytes, classes.offsets, 1)[0] == 0, "offset without rows", n, real);
  const auto members = PartOf(workspace, bytes, classes.members, n);
  const auto place = PartOf(workspace, bytes, classes.place, n);
  const auto class_of = PartOf(workspace, bytes, classes.class_of, n);
  for (size_t i = 0; i < labels.size(); ++i) {
    const bool is_real = static_cast<int64_t>(i) < real;
    Expect(members[static_cast<size_t>(place[i])] == static_cast<int32_t>(i), "places invert members", n,
           real);
    Expect(class_of[i] == (is_real ? membership.class_of[i] : -1), "class of a row", n, real);
    if (is_real) Expect(members[i] == want.members[i], "members", n, real);
  }
}

void TestGrouping() {
  for (int64_t n : kCounts)
    for (int64_t classes : {int64_t{1}, int64_t{5}, n / 4 + 1, n + 1}) {
      std::vector<int64_t> labels(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) labels[static_cast<size_t>(i)] = (i * 7919) % classes - classes / 2;
      CheckGrouping(labels, n, true);
      CheckGrouping(labels, n, false);
      for (int64_t real : {int64_t{0}, int64_t{1}, n - 1})
        if (real >= 0 && real <= n) CheckGrouping(labels, real, false);
      // Padding sorts behind rows that have the largest label themselves.
      for (size_t i = 0; i < labels.size(); i += 2) labels[i] = i % 4 == 0 ? INT64_MAX : INT64_MIN;
      CheckGrouping(labels, n, true);
      CheckGrouping(labels, n / 2, false);
    }
}

void TestPrimitives(int64_t n) {
  const auto size = static_cast<size_t>(n);
  std::vector<int64_t> keys(size);
  std::vector<int32_t> values(size), order(size);
  for (size_t i = 0; i < size; ++i) {
    keys[i] = static_cast<int64_t>(i * 2654435761u % 7) - 3;
    if (i % 5 == 0) keys[i] = i % 2 == 0 ? INT64_MIN : INT64_MAX;
    values[i] = INT32_MAX - static_cast<int32_t>(i % 3);
  }
  std::iota(order.begin(), order.end(), 0);
  const DeviceArray<int64_t> given_keys(keys), sorted_keys(n), sums(n);
  const DeviceArray<int32_t> given_order(order), given_values(values), sorted(n);
  const DeviceArray<char> scratch(cuda::PrimitivesScratch(n));
  cuda::Launches launches(nullptr, "sorting");
  cuda::SortByKey(launches, n, given_keys.get(), given_order.get(), sorted_keys.get(), sorted.get(),
                  scratch.get());
  cuda::RunningSums(launches, n, given_values.get(), sums.get(), scratch.get());
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return keys[static_cast<size_t>(a)] < keys[static_cast<size_t>(b)];
  });
  Expect(launches.problem().empty() && sorted.values() == order, "order", n, 0);
  const auto got_keys = sorted_keys.values(), got_sums = sums.values();
  int64_t sum = 0;
  for (size_t i = 0; i < size; ++i) {
    sum += values[i];
    Expect(got_keys[i] == keys[static_cast<size_t>(order[i])], "sorted keys", n, static_cast<int64_t>(i));
    Expect(got_sums[i] == sum, "running sums", n, static_cast<int64_t>(i));
  }
  Expect(sums.intact() && sorted.intact() && sorted_keys.intact() && scratch.intact(), "sentinels", n, 0);
}

}  // namespace

void CheckCudaClasses() {
  TestGrouping();
  for (int64_t n : kCounts) TestPrimitives(n);
}

}  // namespace fslcore
