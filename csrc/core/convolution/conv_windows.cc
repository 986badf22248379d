// SPDX-License-Identifier: MIT
#include "core/convolution/conv_windows.h"

#include <algorithm>
#include <array>
#include <utility>

namespace fslcore {
namespace {

constexpr int64_t kOutside = -1;

// Positions of the result along one axis that are reached through the same taps.
struct AxisGroup {
  int64_t reached = 0;             // one bit per tap
  std::array<int64_t, 3> steps{};  // [tap] in the source, from where the first that is reached lies
  std::vector<int64_t> positions;  // of the result
  std::vector<int64_t> starts;     // [positions] of the first tap in the source

  bool reaches(int64_t tap) const { return reached >> tap & 1; }
};

// `source(position, tap)` is a position of the source, or kOutside.
template <class Source>
std::vector<AxisGroup> GroupPositions(int64_t count, const Source& source) {
  std::vector<AxisGroup> groups;
  for (int64_t position = 0; position < count; ++position) {
    int64_t reached = 0, start = 0;
    std::array<int64_t, 3> steps{};
    for (int64_t tap = 0; tap < 3; ++tap) {
      const int64_t at = source(position, tap);
      if (at == kOutside) continue;
      if (!reached) start = at;
      reached |= int64_t{1} << tap;
      steps[static_cast<size_t>(tap)] = at - start;
    }
    auto group = std::find_if(groups.begin(), groups.end(),
                              [=](const AxisGroup& other) { return other.reached == reached; });
    if (group == groups.end()) group = groups.insert(groups.end(), {reached, steps, {}, {}});
    group->positions.push_back(position);
    group->starts.push_back(start);
  }
  return groups;
}

struct Extent {
  int64_t height, width, channels;
  int64_t at(int64_t row, int64_t col) const { return (row * width + col) * channels; }
  int64_t size() const { return height * width * channels; }
};

std::vector<simd::WindowRun> Runs(const AxisGroup& rows, const AxisGroup& cols, const Extent& source) {
  std::vector<simd::WindowRun> runs;
  for (size_t tap = 0; tap < 9; ++tap) {
    const auto row = static_cast<int64_t>(tap / 3), col = static_cast<int64_t>(tap % 3);
    if (!rows.reaches(row) || !cols.reaches(col)) continue;
    const simd::WindowRun run = {source.at(rows.steps[tap / 3], cols.steps[tap % 3]),
                                 static_cast<int64_t>(tap) * source.channels, source.channels};
    if (!runs.empty() && runs.back().in + runs.back().length == run.in &&
        runs.back().row + runs.back().length == run.row)
      runs.back().length += run.length;
    else
      runs.push_back(run);
  }
  return runs;
}

std::vector<WindowGroup> Windows(const std::vector<AxisGroup>& by_rows, const std::vector<AxisGroup>& by_cols,
                                 const Extent& source, const Extent& result, int64_t images) {
  std::vector<WindowGroup> groups;
  for (const AxisGroup& rows : by_rows)
    for (const AxisGroup& cols : by_cols) {
      const size_t height = rows.positions.size(), width = cols.positions.size();
      std::vector<simd::WindowPlace> places(static_cast<size_t>(images) * height * width);
      simd::WindowPlace* place = places.data();
      for (int64_t image = 0; image < images; ++image)
        for (size_t r = 0; r < height; ++r)
          for (size_t c = 0; c < width; ++c)
            *place++ = {image * source.size() + source.at(rows.starts[r], cols.starts[c]),
                        image * result.size() + result.at(rows.positions[r], cols.positions[c])};
      groups.push_back({Runs(rows, cols, source), std::move(places), static_cast<int64_t>(height * width)});
    }
  return groups;
}

int64_t PaddingBefore(int64_t size, int64_t out_size, int64_t stride) {
  return std::max<int64_t>((out_size - 1) * stride + 3 - size, 0) / 2;
}

std::vector<AxisGroup> ForwardAxis(int64_t size, int64_t out_size, int64_t stride) {
  const int64_t padding = PaddingBefore(size, out_size, stride);
  return GroupPositions(out_size, [=](int64_t position, int64_t tap) {
    const int64_t at = position * stride + tap - padding;
    return 0 <= at && at < size ? at : kOutside;
  });
}

std::vector<AxisGroup> BackwardAxis(int64_t size, int64_t out_size, int64_t stride) {
  const int64_t padding = PaddingBefore(size, out_size, stride);
  return GroupPositions(size, [=](int64_t position, int64_t tap) {
    const int64_t scaled = position + padding - tap;
    const bool inside = scaled >= 0 && scaled % stride == 0 && scaled / stride < out_size;
    return inside ? scaled / stride : kOutside;
  });
}

}  // namespace

std::vector<WindowGroup> ForwardWindows(const ConvShape& shape, int64_t images) {
  return Windows(ForwardAxis(shape.height, shape.map_height(), shape.stride),
                 ForwardAxis(shape.width, shape.map_width(), shape.stride),
                 {shape.height, shape.width, shape.channels},
                 {shape.map_height(), shape.map_width(), shape.filters}, images);
}

std::vector<WindowGroup> BackwardWindows(const ConvShape& shape, int64_t images) {
  return Windows(BackwardAxis(shape.height, shape.map_height(), shape.stride),
                 BackwardAxis(shape.width, shape.map_width(), shape.stride),
                 {shape.map_height(), shape.map_width(), shape.filters},
                 {shape.height, shape.width, shape.channels}, images);
}

}  // namespace fslcore
