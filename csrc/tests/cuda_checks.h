// SPDX-License-Identifier: MIT
// The checks of the CUDA kernels against the core, the same bodies on a GPU and on its stand-in.
#pragma once

namespace fslcore {

void CheckCudaClasses();
void CheckCudaPairwise();
void CheckCudaTriplets();
void CheckCudaEpisodes();
void CheckCudaImages();
void CheckCudaSearch();
void CheckCudaReductions();
void CheckCudaNorms();
void CheckCudaWarps();

struct CudaCheck {
  const char* name;
  void (*run)();
};
inline constexpr CudaCheck kCudaChecks[] = {
    {"classes", CheckCudaClasses},       {"pairwise", CheckCudaPairwise}, {"triplets", CheckCudaTriplets},
    {"episodes", CheckCudaEpisodes},     {"images", CheckCudaImages},     {"search", CheckCudaSearch},
    {"reductions", CheckCudaReductions}, {"norms", CheckCudaNorms},       {"warps", CheckCudaWarps}};

}  // namespace fslcore
