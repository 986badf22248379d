// SPDX-License-Identifier: MIT
#include "core/simd/kernels.h"

#include "core/simd/cpu_level.h"

namespace fslcore::simd {
namespace {

const Kernels& Active() {
#if !defined(FSLCORE_PORTABLE)
  switch (ActiveCpuLevel()) {
#if defined(__x86_64__)
    case CpuLevel::kAvx512Bf16:
      return avx512bf16::kKernels;
    case CpuLevel::kAvx512:
      return avx512::kKernels;
    case CpuLevel::kAvx2:
      return avx2::kKernels;
#elif defined(__aarch64__)
    case CpuLevel::kNeon:
      return neon::kKernels;
#endif
    default:
      break;
  }
#endif
  return portable::kKernels;
}

}  // namespace

const RowKernels& Rows() { return Active().rows; }
const PairwiseKernels& Pairwise() { return Active().pairwise; }
const ProductGradKernels& ProductGrad() { return Active().product_grad; }
const ManhattanKernels& Manhattan() { return Active().manhattan; }
const NormsKernels& OfNorms() { return Active().norms; }
const SearchKernels& Search() { return Active().search; }
const ReductionKernels& Reductions() { return Active().reductions; }
const TripletKernels& Triplets() { return Active().triplets; }
const ConvolutionKernels& Convolution() { return Active().convolution; }
const PatchKernels& Patches() { return Active().patches; }
const FittingKernels& Fitting() { return Active().fitting; }
const ImageKernels& Images() { return Active().images; }
const LimitKernels& Limits() { return Active().limits; }

}  // namespace fslcore::simd
