// SPDX-License-Identifier: MIT
// The k nearest rows that one thread has seen of each query.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/arrays/scratch.h"
#include "core/search/keys.h"

namespace fslcore::search {

class NearestLists {
 public:
  NearestLists(int64_t queries, int64_t k) : k_(k), keys_(queries * k), sizes_(queries) {
    std::fill_n(sizes_.get(), queries, int64_t{0});
  }

  // Returns whether the list is full and its last entry has changed.
  bool Offer(int64_t query, uint64_t key) {
    uint64_t* keys = keys_.get() + query * k_;
    int64_t& size = sizes_[query];
    if (size < k_) {
      keys[size++] = key;
      std::push_heap(keys, keys + size);
      return size == k_;
    }
    if (key >= keys[0]) return false;
    std::pop_heap(keys, keys + k_);
    keys[k_ - 1] = key;
    std::push_heap(keys, keys + k_);
    return true;
  }

  uint64_t last(int64_t query) const { return keys_[query * k_]; }  // of a full list
  const uint64_t* begin(int64_t query) const { return keys_.get() + query * k_; }
  const uint64_t* end(int64_t query) const { return begin(query) + sizes_[query]; }

 private:
  int64_t k_;
  Scratch<uint64_t> keys_;  // heaps, the last of the order on top
  Scratch<int64_t> sizes_;
};

}  // namespace fslcore::search
