// SPDX-License-Identifier: MIT
// Labels grouped by class: the index that mining and sampling share.
#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "core/views.h"

namespace fslcore {

struct Classes {
  std::vector<int32_t> offsets;  // [classes + 1] into members; classes in increasing order of their label
  std::vector<int32_t> members;  // [labels.size] positions, increasing within a class
  std::vector<int32_t> of;       // [labels.size] class of each position

  int64_t count() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t size(int64_t c) const {
    return offsets[static_cast<size_t>(c) + 1] - offsets[static_cast<size_t>(c)];
  }
  const int32_t* begin(int64_t c) const { return members.data() + offsets[static_cast<size_t>(c)]; }

  explicit Classes(Vector<const int64_t> labels) {
    const auto n = static_cast<size_t>(labels.size);
    members.resize(n);
    of.resize(n);
    std::iota(members.begin(), members.end(), 0);
    const auto label_of = [&](int32_t i) { return labels.data[i]; };
    const auto by_label = [&](int32_t a, int32_t b) { return label_of(a) < label_of(b); };
    if (!std::is_sorted(members.begin(), members.end(), by_label))  // a store keeps its images sorted
      std::stable_sort(members.begin(), members.end(), by_label);
    for (size_t i = 0; i < n; ++i) {
      if (i == 0 || label_of(members[i]) != label_of(members[i - 1]))
        offsets.push_back(static_cast<int32_t>(i));
      of[static_cast<size_t>(members[i])] = static_cast<int32_t>(offsets.size()) - 1;
    }
    offsets.push_back(static_cast<int32_t>(n));
  }
};

}  // namespace fslcore
