// SPDX-License-Identifier: MIT
// The inputs and threads of an OpKernel as the core takes them, and its sentences as TensorFlow errors.
#pragma once
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/threads/parallel.h"
#include "core/arrays/views.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/lib/core/threadpool.h"

namespace tensorflow::fslcore_bindings {

inline fslcore::Executor ExecutorOf(OpKernelContext* context) {
  const auto* workers = context->device()->tensorflow_cpu_worker_threads();
  return {workers->num_threads,
          [pool = workers->workers](std::function<void()> task) { pool->Schedule(std::move(task)); }};
}

inline fslcore::Matrix<const float> MatrixOf(const Tensor& t) {
  return {t.flat<float>().data(), t.dim_size(0), t.dim_size(1)};
}

template <class T>
fslcore::Vector<const T> VectorOf(const Tensor& t) {
  return {t.flat<T>().data(), t.NumElements()};
}

inline std::vector<int64_t> ShapeOf(const Tensor& t) {
  const auto sizes = t.shape().dim_sizes();
  return {sizes.begin(), sizes.end()};
}

// As a list, "[2, 3]", like the core and Python write shapes.
inline absl::Status CheckRank(const char* name, const Tensor& t, int rank) {
  if (t.dims() == rank) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " must have ", rank, rank == 1 ? " axis" : " axes",
                                                 ", received shape [", absl::StrJoin(ShapeOf(t), ", "), "]"));
}

inline absl::Status CheckSentence(const std::string& problem) {
  return problem.empty() ? absl::OkStatus() : absl::InvalidArgumentError(problem);
}

}  // namespace tensorflow::fslcore_bindings
