// SPDX-License-Identifier: MIT
// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as
// easy as 1, 2, 3" (SC 2011). A stream is addressed, not advanced: (seed, episode, stream) gives the same
// numbers on any thread, worker or device; constexpr, so that a GPU compiler may take it as it is.
#pragma once
#include <cstdint>

namespace fslcore {

class PhiloxStream {
 public:
  constexpr PhiloxStream(uint64_t seed, uint64_t episode, uint32_t stream)
      : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
        counter_{0, stream, static_cast<uint32_t>(episode), static_cast<uint32_t>(episode >> 32)} {}

  constexpr uint32_t Next() {
    if (used_ == 4) Refill();
    return block_[used_++];
  }

  // Uniform in [0, n), without bias: Lemire's multiply-shift with rejection (ACM TOMACS 29(1), 2019).
  constexpr uint32_t Below(uint32_t n) {
    uint64_t product = uint64_t{Next()} * n;
    if (static_cast<uint32_t>(product) < n) {
      const uint32_t threshold = (0u - n) % n;
      while (static_cast<uint32_t>(product) < threshold) product = uint64_t{Next()} * n;
    }
    return static_cast<uint32_t>(product >> 32);
  }

 private:
  constexpr void Refill() {
    uint32_t c0 = counter_[0], c1 = counter_[1], c2 = counter_[2], c3 = counter_[3];
    uint32_t k0 = key_[0], k1 = key_[1];
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
      const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
      c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
      c1 = static_cast<uint32_t>(p1);
      c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c3 = static_cast<uint32_t>(p0);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    block_[0] = c0, block_[1] = c1, block_[2] = c2, block_[3] = c3;
    ++counter_[0];
    used_ = 0;
  }

  uint32_t key_[2];
  uint32_t counter_[4];
  uint32_t block_[4] = {};
  int used_ = 4;
};

}  // namespace fslcore
