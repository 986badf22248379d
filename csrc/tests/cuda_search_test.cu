// SPDX-License-Identifier: MIT
// The search of csrc/cuda: exactly the plain loops' on small integers, for cosine within bounds of the
// core's.
#include "core/pairwise/pairwise.h"
#include "cuda/search/nearest.h"
#include "tests/cuda_check.h"
#include "tests/cuda_checks.h"
#include "tests/device_memory.h"
#include "tests/inputs.h"
#include "tests/search_problem.h"

namespace fslcore {
namespace {

FoundRows OnDevice(Metric metric, Matrix<const float> queries, Matrix<const float> rows, int32_t real,
                   int64_t k) {
  const DeviceArray<float> x(std::vector<float>(queries.data, queries.data + queries.rows * queries.cols)),
      y(std::vector<float>(rows.data, rows.data + rows.rows * rows.cols));
  const DeviceArray<int32_t> count(std::vector<int32_t>{real});
  const Matrix<const float> dx = {x.get(), queries.rows, queries.cols}, dy = {y.get(), rows.rows, rows.cols};
  DeviceArray<char> workspace(cuda::NearestWorkspace(metric, dx, dy, k));
  DeviceArray<float> values(queries.rows * k);
  DeviceArray<int32_t> indices(queries.rows * k);
  const std::string problem =
      cuda::Nearest(nullptr, metric, dx, dy, real == rows.rows ? nullptr : count.get(), k, workspace.get(),
                    values.get(), indices.get());
  Expect(problem.empty(), "nearest says nothing", queries.rows, rows.rows);
  Expect(values.intact() && indices.intact() && workspace.intact(), "sentinels of nearest", queries.rows,
         rows.rows);
  return {values.values(), indices.values()};
}

void TestIntegers(Metric metric, int64_t queries, int64_t rows, int64_t dim, int64_t k) {
  auto x = Integers(queries * dim, 3), y = Integers(rows * dim, 4);
  if (rows > 5 && dim > 0) y[static_cast<size_t>(5 * dim)] = NAN;
  const Matrix<const float> mx = {x.data(), queries, dim}, my = {y.data(), rows, dim};
  const FoundRows wanted = PlainNearest(metric, mx, my, k);
  const FoundRows found = OnDevice(metric, mx, my, static_cast<int32_t>(rows), k);
  const auto key = static_cast<int64_t>(metric) * 1000 + k;
  Expect(found.indices == wanted.indices, "indices of nearest", key, rows * 1000 + dim);
  Expect(SameValues(found.values, wanted.values), "values of nearest", key, rows * 1000 + dim);
}

// Rows behind those that are real are not found; nothing is found where there are fewer than k.
void TestRealRows() {
  const auto x = Integers(3 * 4, 3), y = Integers(90 * 4, 4);
  const Matrix<const float> mx = {x.data(), 3, 4}, my = {y.data(), 90, 4};
  for (int32_t real : {70, 5, 0}) {
    const int64_t k = 8, present = std::min<int64_t>(k, real);
    const FoundRows found = OnDevice(Metric::kSqeuclidean, mx, my, real, k);
    const FoundRows wanted = PlainNearest(Metric::kSqeuclidean, mx, {y.data(), real, 4}, present);
    for (int64_t q = 0; q < 3; ++q)
      for (int64_t i = 0; i < k; ++i) {
        const auto at = static_cast<size_t>(q * k + i), from = static_cast<size_t>(q * present + i);
        if (i < present)
          Expect(found.indices[at] == wanted.indices[from] && found.values[at] == wanted.values[from],
                 "nearest of real rows", real, i);
        else
          Expect(found.indices[at] == -1 && std::isnan(found.values[at]), "nearest of nothing", real, i);
      }
  }
}

void TestCosine() {
  auto x = Integers(9 * 20, 5), y = Integers(130 * 20, 6);
  std::fill_n(y.begin() + 20, 20, 0.0f);
  std::fill_n(x.begin() + 40, 20, 0.0f);
  std::copy_n(x.begin(), 20, y.begin() + 60);
  const Matrix<const float> mx = {x.data(), 9, 20}, my = {y.data(), 130, 20};
  const FoundRows found = OnDevice(Metric::kCosine, mx, my, 130, 130);
  std::vector<float> all(9 * 130);
  Pairwise({}, {Metric::kCosine}, mx, my, all.data());
  for (int64_t q = 0; q < 9; ++q)
    for (int64_t i = 0; i < 130; ++i) {
      const auto at = static_cast<size_t>(q * 130 + i);
      const float core = all[static_cast<size_t>(q * 130 + found.indices[at])];
      Expect(std::fabs(found.values[at] - core) <= 64 * 0x1p-24f, "cosine of nearest", q, i);
      Expect(i == 0 || found.values[at - 1] <= found.values[at], "order of nearest", q, i);
    }
  Expect(found.values[0] == 0.0f && found.indices[0] == 3, "an equal row", 0, 0);
}

}  // namespace

void CheckCudaSearch() {
  for (Metric metric : kSearchMetrics) {
    if (metric == Metric::kCosine) continue;  // not exact on integers
    TestIntegers(metric, 0, 3, 4, 1);
    TestIntegers(metric, 1, 1, 1, 1);
    TestIntegers(metric, 3, 7, 0, 7);
    TestIntegers(metric, 66, 130, 18, 5);
    TestIntegers(metric, 2, 70, 5, 70);
  }
  TestIntegers(Metric::kSqeuclidean, 2, 4200, 3, 40);  // two shares of the rows
  TestRealRows();
  TestCosine();
}

}  // namespace fslcore
