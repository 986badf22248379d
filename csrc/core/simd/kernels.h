// SPDX-License-Identifier: MIT
// The seam between orchestration (memory, threads, checks) and the SIMD kernels: one table of plain functions
// per family. levels/kernels_<level>.cc compiles the bodies of all families, <family>_kernels.inl, for one
// instruction set. A body neither allocates nor starts threads, and uses no container of the standard
// library. Callers include the header of their family alone.
//
// A new kernel is declared in <family>_kernels.h, and defined and entered into the table in
// <family>_kernels.inl.
#pragma once
#include "core/simd/convolution_kernels.h"
#include "core/simd/fitting_kernels.h"
#include "core/simd/image_kernels.h"
#include "core/simd/limit_kernels.h"
#include "core/simd/manhattan_kernels.h"
#include "core/simd/norms_kernels.h"
#include "core/simd/pairwise_kernels.h"
#include "core/simd/patch_kernels.h"
#include "core/simd/product_grad_kernels.h"
#include "core/simd/reduction_kernels.h"
#include "core/simd/row_kernels.h"
#include "core/simd/search_kernels.h"
#include "core/simd/triplet_kernels.h"

namespace fslcore::simd {

struct Kernels {
  RowKernels rows;
  PairwiseKernels pairwise;
  ProductGradKernels product_grad;
  ManhattanKernels manhattan;
  NormsKernels norms;
  SearchKernels search;
  ReductionKernels reductions;
  TripletKernels triplets;
  ConvolutionKernels convolution;
  PatchKernels patches;
  FittingKernels fitting;
  ImageKernels images;
  LimitKernels limits;
};

namespace portable {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}
namespace avx512bf16 {
extern const Kernels kKernels;
}
namespace neon {
extern const Kernels kKernels;
}

}  // namespace fslcore::simd
