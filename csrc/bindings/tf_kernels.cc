// SPDX-License-Identifier: MIT
// The kernels of TensorFlow's ops: the core on the intra-op threads, or CUDA kernels on the op's stream. No
// CUDA header is needed.
#include <string>
#include <vector>

#include "bindings/ops.h"
#include "bindings/tf_attributes.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/lib/core/threadpool.h"
#ifdef FSLCORE_WITH_CUDA
#include "cuda/devices.h"
#include "xla/stream_executor/stream.h"
#endif

namespace tensorflow::fslcore_bindings {
namespace {

namespace bindings = fslcore::bindings;

fslcore::Executor ExecutorOf(OpKernelContext* context) {
  const auto* workers = context->device()->tensorflow_cpu_worker_threads();
  return {workers->num_threads,
          [pool = workers->workers](std::function<void()> task) { pool->Schedule(std::move(task)); }};
}

absl::Status Thrown(bool exhausted, const std::string& problem) {
  return exhausted ? absl::ResourceExhaustedError(problem) : absl::InternalError(problem);
}

// What a kernel does on every device.
template <class O>
class Kernel : public OpKernel {
 public:
  explicit Kernel(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadAttributes(context, &attributes_));
  }
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, bindings::Caught([&] { return Run(context); }, Thrown));
  }

 protected:
  virtual absl::Status Run(OpKernelContext* context) = 0;

  absl::Status TakeInputs(OpKernelContext* context, bindings::Call* call) const {
    for (int i = 0; i < context->num_inputs(); ++i) {
      const Tensor& input = context->input(i);
      const auto sizes = input.shape().dim_sizes();
      call->input_shapes.emplace_back(sizes.begin(), sizes.end());
      call->inputs.push_back(input.data());
    }
    return Invalid(bindings::CheckCall<O>(attributes_, call->input_shapes, &call->output_shapes));
  }

  static absl::Status AllocateOutputs(OpKernelContext* context, bindings::Call* call) {
    for (size_t i = 0; i < call->output_shapes.size(); ++i) {
      TensorShape shape;
      TF_RETURN_IF_ERROR(TensorShape::BuildTensorShape(call->output_shapes[i], &shape));
      Tensor* output;
      TF_RETURN_IF_ERROR(context->forward_input_or_allocate_output(O::Forwardable(i, call->inputs.size()),
                                                                   static_cast<int>(i), shape, &output));
      call->outputs.push_back(output->data());
    }
    return absl::OkStatus();
  }

  typename O::Attributes attributes_;
};

template <class O>
class CpuKernel : public Kernel<O> {
 public:
  using Kernel<O>::Kernel;

 private:
  absl::Status Run(OpKernelContext* context) override {
    bindings::CpuCall call;
    call.executor = ExecutorOf(context);
    TF_RETURN_IF_ERROR(this->TakeInputs(context, &call));
    if constexpr (O::kRows >= 0) call.rows = call.input_shapes[O::kRows][0];
    if constexpr (O::kCounts) {
      const int64_t count = O::Count(this->attributes_, call);
      for (fslcore::Sizes& sizes : call.output_shapes) sizes[0] = count;
    }
    TF_RETURN_IF_ERROR(this->AllocateOutputs(context, &call));
    return Invalid(O::Run(this->attributes_, call));
  }
};

// The registration macro of TensorFlow takes no template.
template <class K>
bool Register(const char* op, const char* device) {
  kernel_factory::OpKernelRegistrar(
      register_kernel::Name(op).Device(device).Build(), op,
      [](OpKernelConstruction* context) -> OpKernel* { return new K(context); });
  return true;
}

#define FSLCORE_REGISTER(Op, function) \
  [[maybe_unused]] const bool kOnCpu##Op = Register<CpuKernel<bindings::Op>>("Fslcore" #Op, DEVICE_CPU);
FSLCORE_TENSORFLOW_OPS(FSLCORE_REGISTER)
#undef FSLCORE_REGISTER

#ifdef FSLCORE_WITH_CUDA

absl::Status Ran(const std::string& problem) {
  return problem.empty() ? absl::OkStatus() : absl::InternalError(problem);
}

template <class O>
class GpuKernel : public Kernel<O> {
 public:
  using Kernel<O>::Kernel;

 private:
  absl::Status Run(OpKernelContext* context) override {
    bindings::GpuCall call;
    call.stream = static_cast<fslcore::cuda::Stream>(
        context->op_device_context()->stream()->platform_specific_handle().stream);
    TF_RETURN_IF_ERROR(this->TakeInputs(context, &call));
    Tensor workspace;
    TensorShape bytes;
    TF_RETURN_IF_ERROR(TensorShape::BuildTensorShape({O::Workspace(this->attributes_, call)}, &bytes));
    TF_RETURN_IF_ERROR(context->allocate_temp(DT_UINT8, bytes, &workspace));
    call.workspace = workspace.data();
    if constexpr (O::kCounts) TF_RETURN_IF_ERROR(CountRows(context, &call));
    TF_RETURN_IF_ERROR(this->AllocateOutputs(context, &call));
    return Ran(O::Run(this->attributes_, call));
  }

  absl::Status CountRows(OpKernelContext* context, bindings::GpuCall* call) const {
    Tensor counted;
    TF_RETURN_IF_ERROR(context->allocate_temp(DT_INT64, TensorShape({}), &counted));
    auto* on_device = static_cast<int64_t*>(counted.data());
    TF_RETURN_IF_ERROR(Ran(O::Count(this->attributes_, *call, on_device)));
    int64_t count = 0;
    TF_RETURN_IF_ERROR(Ran(fslcore::cuda::Fetch(call->stream, on_device, &count)));
    for (fslcore::Sizes& sizes : call->output_shapes) sizes[0] = count;
    return absl::OkStatus();
  }
};

#define FSLCORE_REGISTER(Op, function) \
  [[maybe_unused]] const bool kOnGpu##Op = Register<GpuKernel<bindings::Op>>("Fslcore" #Op, DEVICE_GPU);
FSLCORE_GPU_OPS(FSLCORE_REGISTER)
#undef FSLCORE_REGISTER

#endif

}  // namespace
}  // namespace tensorflow::fslcore_bindings
