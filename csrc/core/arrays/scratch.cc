// SPDX-License-Identifier: MIT
#include "core/arrays/scratch.h"

#include <cstddef>
#include <new>

#include "core/arrays/rounding.h"

namespace fslcore {
namespace {

constexpr auto kAlignment = std::align_val_t{64};
constexpr int kMostBlocks = 32;

// In front of what is given out, as large as the alignment.
struct alignas(64) Header {
  int64_t bytes;  // of the whole block
};

void Free(Header* block) { ::operator delete(block, kAlignment); }

// A sanitizer must see every block freed; a thread whose objects are being destroyed keeps none any more.
#if defined(__SANITIZE_ADDRESS__)
thread_local bool keeps = false;
#else
thread_local bool keeps = true;
#endif

// What this thread keeps, the latest last.
class Kept {
 public:
  ~Kept() {
    keeps = false;
    while (count_ > 0) Free(Remove(0));
  }

  // The smallest block that is large enough and not much too large, null if there is none.
  Header* Take(int64_t bytes) {
    int best = -1;
    for (int i = count_ - 1; i >= 0; --i)
      if (blocks_[i]->bytes >= bytes && blocks_[i]->bytes / 2 <= bytes &&
          (best < 0 || blocks_[i]->bytes < blocks_[best]->bytes))
        best = i;
    return best < 0 ? nullptr : Remove(best);
  }

  void Keep(Header* block) {
    if (block->bytes > kMostKept) return Free(block);
    while (count_ == kMostBlocks || bytes_ + block->bytes > kMostKept) Free(Remove(0));
    blocks_[count_++] = block;
    bytes_ += block->bytes;
  }

 private:
  Header* Remove(int index) {
    Header* block = blocks_[index];
    for (int i = index; i + 1 < count_; ++i) blocks_[i] = blocks_[i + 1];
    --count_;
    bytes_ -= block->bytes;
    return block;
  }

  Header* blocks_[kMostBlocks] = {};
  int count_ = 0;
  int64_t bytes_ = 0;
};

thread_local Kept kept;

}  // namespace

void* TakeScratch(int64_t bytes) {
  bytes = RoundUp(bytes + int64_t{sizeof(Header)}, 64);
  Header* block = keeps ? kept.Take(bytes) : nullptr;
  if (!block) {
    block = static_cast<Header*>(::operator new(static_cast<size_t>(bytes), kAlignment));
    block->bytes = bytes;
  }
  return block + 1;
}

void GiveBackScratch(void* memory) noexcept {
  Header* block = static_cast<Header*>(memory) - 1;
  keeps ? kept.Keep(block) : Free(block);
}

}  // namespace fslcore
