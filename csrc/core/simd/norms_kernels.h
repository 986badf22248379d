// SPDX-License-Identifier: MIT
// Kernels of networks on the coordinates of pairs, one row of x and one panel of rows of y at a time;
// core/norms/norms.h has the mathematics.
#pragma once
#include <cstdint>

#include "core/norms/norm.h"
#include "core/pairwise/metric.h"

namespace fslcore::simd {

// The panel is packed by pack_rows: [dim, panel], zeros beyond its rows. K is the number of norms.
struct NormsPair {
  int64_t norms;  // a mask of Norm
  int64_t filters, dim;
  const float* network;  // [filters, stride]: see the two kernels
  const float* weights;  // [dim]
  const float *x, *y;    // [dim], [dim, panel]
  float x_scale;
  const float* y_scales;  // [panel], for unit_product
};

struct NormsBlock {
  NormsPair pair;  // its network: A[f, 0 .. K), b_f, v_f
  float bias;
  Activation activation;
  float* out;  // [panel]
};

struct NormsGradBlock {
  NormsPair pair;               // its network: A[f, 0 .. K), b_f, then each of these times v_f
  const float* grad;            // [panel], d loss / d (the sum inside act); zero beyond the rows of the panel
  float* scratch;               // [dim, panel], for softmax
  float *dx, *dy;               // [dim], [dim, panel]
  float *dx_scale, *dy_scales;  // scalar and [panel], for unit_product
  float* dweights;              // [dim]
  float* sums;  // [filters, K + 1, lanes] of grad w_d for the pairs that pass the filter, times n_k or 1
};

struct NormsKernels {
  void (*block)(const NormsBlock&);
  void (*grad)(const NormsGradBlock&);  // adds to all gradients
  // totals[i] += the sum of the lanes of sums[i], which become zero; i < count.
  void (*take_sums)(float* sums, int64_t count, double* totals);
};

const NormsKernels& OfNorms();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
