// SPDX-License-Identifier: MIT
// The checks of the CUDA kernels against the core, the same bodies on a GPU and on its stand-in.
#pragma once

namespace fslcore {

void TestCudaClasses();
void TestCudaPairwise();
void TestCudaTriplets();
void TestCudaEpisodes();
void TestCudaImages();

struct CudaTest {
  const char* name;
  void (*run)();
};
inline constexpr CudaTest kCudaTests[] = {{"classes", TestCudaClasses},
                                          {"pairwise matrices and gradients", TestCudaPairwise},
                                          {"triplets", TestCudaTriplets},
                                          {"episodes", TestCudaEpisodes},
                                          {"images", TestCudaImages}};

}  // namespace fslcore
