// SPDX-License-Identifier: MIT
// NVIDIA's matrix product for comparison, if its library is there: found at run time, so that nothing but the
// toolkit's compiler is needed to build.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "core/views.h"
#include "cuda/stream.h"

namespace fslcore::bench {

class Cublas {
 public:
  // Null if there is no such library; `why` is then a sentence.
  static std::unique_ptr<Cublas> Load(cuda::Stream stream, std::string* why);
  ~Cublas();

  // out [x.rows, y.rows] = x y^T, float32 or, if allowed, on tensor cores in TF32. Returns the sentence that
  // says what went wrong, or nothing.
  std::string Product(Matrix<const float> x, Matrix<const float> y, bool tf32, float* out) const;

  const std::string& name() const { return name_; }

 private:
  struct Functions;
  Cublas(std::unique_ptr<Functions> functions, std::string name);

  std::unique_ptr<Functions> functions_;
  std::string name_;
  void* handle_ = nullptr;
};

}  // namespace fslcore::bench
