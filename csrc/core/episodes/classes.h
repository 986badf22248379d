// SPDX-License-Identifier: MIT
// Labels grouped by class: the index that mining and sampling share.
#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "core/arrays/views.h"

namespace fslcore {

struct Classes {
  std::vector<int32_t> offsets;  // [classes + 1] into members; classes in increasing order of their label
  std::vector<int32_t> members;  // [labels.size] positions, increasing within a class

  int64_t labels() const { return static_cast<int64_t>(members.size()); }
  int64_t count() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t size(int64_t c) const {
    return offsets[static_cast<size_t>(c) + 1] - offsets[static_cast<size_t>(c)];
  }
  const int32_t* begin(int64_t c) const { return members.data() + offsets[static_cast<size_t>(c)]; }
  const int32_t* end(int64_t c) const { return begin(c) + size(c); }

  explicit Classes(Vector<const int64_t> labels) : members(static_cast<size_t>(labels.size)) {
    std::iota(members.begin(), members.end(), 0);
    const int64_t* of = labels.data;
    if (FindOffsets([of](size_t i) { return of[i]; })) return;  // a store keeps its images sorted
    std::stable_sort(members.begin(), members.end(), [of](int32_t a, int32_t b) { return of[a] < of[b]; });
    FindOffsets([this, of](size_t i) { return of[members[i]]; });
  }

 private:
  // One pass, which touches more than a label only where it changes. False if the labels decrease.
  template <class LabelAt>
  bool FindOffsets(const LabelAt& label_at) {
    offsets.assign(members.empty() ? 0 : 1, 0);
    for (size_t i = 1; i < members.size(); ++i) {
      if (label_at(i) == label_at(i - 1)) continue;
      if (label_at(i) < label_at(i - 1)) return false;
      offsets.push_back(static_cast<int32_t>(i));
    }
    offsets.push_back(static_cast<int32_t>(members.size()));
    return true;
  }
};

// The inverse: where each position stands.
struct Membership {
  std::vector<int32_t> class_of;  // [labels.size]
  std::vector<int32_t> rank;      // [labels.size] place among the members of its class

  explicit Membership(const Classes& classes)
      : class_of(classes.members.size()), rank(classes.members.size()) {
    for (int64_t c = 0; c < classes.count(); ++c)
      for (int64_t r = 0; r < classes.size(c); ++r) {
        const auto member = static_cast<size_t>(classes.begin(c)[r]);
        class_of[member] = static_cast<int32_t>(c);
        rank[member] = static_cast<int32_t>(r);
      }
  }
};

}  // namespace fslcore
