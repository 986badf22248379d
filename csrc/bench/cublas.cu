// SPDX-License-Identifier: MIT
#include <dlfcn.h>

#include <utility>

#include "bench/cublas.h"

namespace fslcore::bench {
namespace {

// From cublas_api.h, which is no part of the compiler's package.
constexpr int kSuccess = 0, kNotTransposed = 0, kTransposed = 1, kDefaultMath = 0, kTf32Math = 3;

template <class Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

std::string Sentence(int status, const char* what) {
  return status == kSuccess ? "" : std::string("cuBLAS: ") + what + " returned " + std::to_string(status);
}

}  // namespace

struct Cublas::Functions {
  int (*create)(void** handle);
  int (*destroy)(void* handle);
  int (*set_stream)(void* handle, cuda::Stream stream);
  int (*set_math_mode)(void* handle, int mode);
  int (*sgemm)(void* handle, int transpose_a, int transpose_b, int m, int n, int k, const float* alpha,
               const float* a, int lda, const float* b, int ldb, const float* beta, float* c, int ldc);

  bool FindIn(void* library) {
    return Find(library, "cublasCreate_v2", &create) && Find(library, "cublasDestroy_v2", &destroy) &&
           Find(library, "cublasSetStream_v2", &set_stream) &&
           Find(library, "cublasSetMathMode", &set_math_mode) && Find(library, "cublasSgemm_v2", &sgemm);
  }
};

Cublas::Cublas(std::unique_ptr<Functions> functions, std::string name)
    : functions_(std::move(functions)), name_(std::move(name)) {}

std::unique_ptr<Cublas> Cublas::Load(cuda::Stream stream, std::string* why) {
  for (const char* name : {"libcublas.so.13", "libcublas.so.12"}) {
    void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    auto functions = std::make_unique<Functions>();
    if (!library || !functions->FindIn(library)) continue;
    std::unique_ptr<Cublas> cublas(new Cublas(std::move(functions), name));
    *why = Sentence(cublas->functions_->create(&cublas->handle_), "cublasCreate");
    if (why->empty()) *why = Sentence(cublas->functions_->set_stream(cublas->handle_, stream), "its stream");
    return why->empty() ? std::move(cublas) : nullptr;
  }
  *why = "neither libcublas.so.13 nor libcublas.so.12 can be loaded";
  return nullptr;
}

Cublas::~Cublas() {
  if (handle_) functions_->destroy(handle_);
}

std::string Cublas::Product(Matrix<const float> x, Matrix<const float> y, bool tf32, float* out) const {
  // Its matrices are column by column, so it sees x, y and out transposed.
  const auto m = static_cast<int>(y.rows), n = static_cast<int>(x.rows), k = static_cast<int>(x.cols);
  const float one = 1.0f, zero = 0.0f;
  const std::string problem =
      Sentence(functions_->set_math_mode(handle_, tf32 ? kTf32Math : kDefaultMath), "its math mode");
  if (!problem.empty()) return problem;
  return Sentence(functions_->sgemm(handle_, kTransposed, kNotTransposed, m, n, k, &one, y.data, k, x.data, k,
                                    &zero, out, m),
                  "cublasSgemm");
}

}  // namespace fslcore::bench
