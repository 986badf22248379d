// SPDX-License-Identifier: MIT
#include "cuda/pairwise/library_product.h"

#if !defined(FSLCORE_CUDA_ON_CPU)
#include <dlfcn.h>

#include <map>
#endif

namespace fslcore::cuda {

#if defined(FSLCORE_CUDA_ON_CPU)

const std::string& ProductLibrary() {
  static const std::string name = "loops";
  return name;
}

void LibraryProduct(Launches&, Precision, Matrix<const float> x, Matrix<const float> y, void*, float* out) {
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < y.rows; ++j) {
      float sum = 0.0f;
      for (int64_t d = 0; d < x.cols; ++d) sum = fmaf(x.row(i)[d], y.row(j)[d], sum);
      out[i * y.rows + j] = sum;
    }
}

#else

namespace {

// From cublas_api.h, which is no part of the compiler's package.
constexpr int kSuccess = 0, kNotTransposed = 0, kTransposed = 1, kFloat32Data = 0, kDefaultAlgorithm = -1;

int ComputeType(Precision precision) {
  constexpr int kFloat32 = 68, kFastBfloat16 = 75, kFastTf32 = 77;
  return precision == Precision::kTf32       ? kFastTf32
         : precision == Precision::kBfloat16 ? kFastBfloat16
                                             : kFloat32;
}

struct Cublas {
  using Handle = void*;
  std::string name;
  int (*create)(Handle*);
  int (*set_stream)(Handle, Stream);
  int (*set_workspace)(Handle, void*, size_t);
  int (*multiply)(Handle, int transpose_a, int transpose_b, int m, int n, int k, const void* alpha,
                  const void* a, int type_of_a, int lda, const void* b, int type_of_b, int ldb,
                  const void* beta, void* c, int type_of_c, int ldc, int compute_type, int algorithm);

  Cublas() {
    for (const char* file : {"libcublas.so.13", "libcublas.so.12"})
      if (void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
          library && Find(library, "cublasCreate_v2", &create) &&
          Find(library, "cublasSetStream_v2", &set_stream) &&
          Find(library, "cublasSetWorkspace_v2", &set_workspace) &&
          Find(library, "cublasGemmEx", &multiply)) {
        name = file;
        return;
      }
  }

 private:
  template <class Function>
  static bool Find(void* library, const char* symbol, Function* function) {
    *function = reinterpret_cast<Function>(dlsym(library, symbol));
    return *function != nullptr;
  }
};

const Cublas& Library() {
  static const Cublas library;
  return library;
}

// A handle is of one device, and for one thread at a time. It is kept: at the end of a thread the driver may
// be gone already.
int HandleOfThread(Cublas::Handle* handle) {
  thread_local std::map<int, Cublas::Handle> handles;
  int device = 0;
  cudaGetDevice(&device);
  Cublas::Handle& kept = handles[device];
  const int status = kept ? kSuccess : Library().create(&kept);
  *handle = kept;
  return status;
}

}  // namespace

const std::string& ProductLibrary() { return Library().name; }

void LibraryProduct(Launches& launches, Precision precision, Matrix<const float> x, Matrix<const float> y,
                    void* workspace, float* out) {
  if (!launches.problem().empty()) return;
  const Cublas& library = Library();
  Cublas::Handle handle;
  int status = HandleOfThread(&handle);
  if (status == kSuccess) status = library.set_stream(handle, launches.stream());
  if (status == kSuccess) status = library.set_workspace(handle, workspace, kLibraryWorkspace);
  const float one = 1.0f, zero = 0.0f;
  const auto m = static_cast<int>(y.rows), n = static_cast<int>(x.rows), k = static_cast<int>(x.cols);
  // Its matrices are column by column, so it sees x, y and out transposed.
  if (status == kSuccess)
    status = library.multiply(handle, kTransposed, kNotTransposed, m, n, k, &one, y.data, kFloat32Data, k,
                              x.data, kFloat32Data, k, &zero, out, kFloat32Data, m, ComputeType(precision),
                              kDefaultAlgorithm);
  if (status != kSuccess) launches.Fail("cuBLAS returned " + std::to_string(status));
}

#endif

}  // namespace fslcore::cuda
