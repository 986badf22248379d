// SPDX-License-Identifier: MIT
// The floating-point mode of the calling thread, and the hint that it spins. Nothing on CPUs other than x86.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fslcore {

// Flushes denormals to zero while it lives. TensorFlow's threads do so and others do not; every block of a
// parallel loop runs with flushing on, so that a kernel gives the same bits from NumPy and from TensorFlow.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040u); }  // FTZ | DAZ
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

// Takes about thirty nanoseconds and leaves the core to its other thread.
inline void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace fslcore
