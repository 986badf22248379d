// SPDX-License-Identifier: MIT
// The exponential and the logistic function of vectors.
#pragma once

// e^x to 2 ulp: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2], whose coefficients are those of the Taylor
// series but for the last three, fitted to the interval (Cephes, expf). Adding 1.5 * 2^23 rounds to an
// integer.
__attribute__((always_inline)) inline Vec Exp(Vec x) {
  x = Min(Set(88.0f), Max(Set(-87.0f), x));  // a NaN stays
  const Vec magic = Set(12582912.0f), shifted = Fma(x, Set(1.44269504f), magic), n = Sub(shifted, magic);
  const Vec r = Fma(n, Set(2.12194440e-4f), Fma(n, Set(-0.693359375f), x));
  Vec p = Set(1.9875691500e-4f);
  for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    p = Fma(p, r, Set(c));
  return Mul(Add(Fma(p, Mul(r, r), r), Set(1.0f)), PowerOfTwo(shifted));
}

inline Vec Logistic(Vec x) { return Div(Set(1.0f), Add(Set(1.0f), Exp(Sub(Set(0.0f), x)))); }
