// SPDX-License-Identifier: MIT
// AVX-512 on CPUs that lack it: its intrinsics as the portable functions of SIMDe (Debian: libsimde-dev).
#pragma once
#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

// The compiler's own types are known without AVX-512, and SIMDe leaves them alone.
#define __m512 simde__m512
#define __m512i simde__m512i
#define __m512d simde__m512d
#define __m512bh simde__m512bh
#define __mmask16 simde__mmask16
