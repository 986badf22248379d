// SPDX-License-Identifier: MIT
// GPU kernels of the TensorFlow ops: check, view, call the CUDA kernels on the op's stream. No CUDA header is
// needed.
#include <string>

#include "bindings/tf_arguments.h"
#include "bindings/tf_kernels.h"
#include "cuda/devices.h"
#include "cuda/episodes/episodes.h"
#include "cuda/pairwise/pairwise.h"
#include "cuda/images/images.h"
#include "cuda/triplets/triplets.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"

namespace tensorflow::fslcore_bindings {
namespace {

fslcore::cuda::Stream StreamOf(OpKernelContext* context) {
  return static_cast<fslcore::cuda::Stream>(
      context->op_device_context()->stream()->platform_specific_handle().stream);
}

absl::Status AllocateWorkspace(OpKernelContext* context, int64_t bytes, Tensor* workspace, void** data) {
  TF_RETURN_IF_ERROR(context->allocate_temp(DT_UINT8, TensorShape({bytes}), workspace));
  *data = workspace->flat<uint8_t>().data();
  return absl::OkStatus();
}

absl::Status Ran(const std::string& problem) {
  return problem.empty() ? absl::OkStatus() : absl::InternalError(problem);
}

class PairwiseGpuOp : public PairwiseBase {
 public:
  using PairwiseBase::PairwiseBase;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Check(context));
    const auto kernel = Kernel(context);
    const auto x = MatrixOf(context->input(0)), y = MatrixOf(context->input(1));
    Tensor workspace, *out;
    void* room;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({x.rows, y.rows}), &out));
    OP_REQUIRES_OK(context, AllocateWorkspace(context, fslcore::cuda::PairwiseWorkspace(kernel, x, y),
                                              &workspace, &room));
    OP_REQUIRES_OK(context, Ran(fslcore::cuda::Pairwise(StreamOf(context), kernel, x, y, room,
                                                        out->flat<float>().data())));
  }

 protected:
  fslcore::cuda::PairwiseKernel Kernel(OpKernelContext* context) const {
    return {metric_, activation_, VectorOf<float>(context->input(2)), context->input(3).flat<float>().data(),
            precision_};
  }
};

class PairwiseGradGpuOp : public PairwiseGpuOp {
 public:
  using PairwiseGpuOp::PairwiseGpuOp;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Check(context));
    const auto kernel = Kernel(context);
    const auto x = MatrixOf(context->input(0)), y = MatrixOf(context->input(1));
    float* gradients[4];
    OP_REQUIRES_OK(context, AllocateGradients(context, gradients));
    Tensor workspace;
    void* room;
    OP_REQUIRES_OK(context, AllocateWorkspace(context, fslcore::cuda::PairwiseGradWorkspace(kernel, x, y),
                                              &workspace, &room));
    OP_REQUIRES_OK(context, Ran(fslcore::cuda::PairwiseGrad(
                                StreamOf(context), kernel, x, y, context->input(4).flat<float>().data(),
                                context->input(5).flat<float>().data(), room,
                                {gradients[0], gradients[1], gradients[2], gradients[3]})));
  }
};

fslcore::cuda::TripletBatch BatchOf(OpKernelContext* context, fslcore::Mining mining,
                                    fslcore::Metric metric) {
  return {mining, metric, MatrixOf(context->input(0)), context->input(1).flat<int64_t>().data(),
          /*rows=*/nullptr};
}

class TripletLossGpuOp : public TripletLossBase {
 public:
  using TripletLossBase::TripletLossBase;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Check(context));
    const auto batch = BatchOf(context, mining_, metric_);
    Outputs outputs;
    OP_REQUIRES_OK(context, Allocate(context, &outputs));
    Tensor workspace;
    void* room;
    OP_REQUIRES_OK(context,
                   AllocateWorkspace(context, fslcore::cuda::TripletLossWorkspace(batch), &workspace, &room));
    OP_REQUIRES_OK(context,
                   Ran(fslcore::cuda::TripletLossAndGrad(
                       StreamOf(context), batch, margin_, room, outputs.loss->flat<float>().data(),
                       outputs.grad->flat<float>().data(), outputs.triplets->flat<int64_t>().data())));
  }
};

class MineTripletsGpuOp : public TripletBase {
 public:
  using TripletBase::TripletBase;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Check(context));
    const auto batch = BatchOf(context, mining_, metric_);
    Tensor workspace, counted;
    void* room;
    OP_REQUIRES_OK(
        context, AllocateWorkspace(context, fslcore::cuda::MineTripletsWorkspace(batch), &workspace, &room));
    OP_REQUIRES_OK(context, context->allocate_temp(DT_INT64, TensorShape({}), &counted));
    int64_t* count = counted.flat<int64_t>().data();
    OP_REQUIRES_OK(context, Ran(fslcore::cuda::CountTriplets(StreamOf(context), batch, room, count)));
    int64_t triplets = 0;
    OP_REQUIRES_OK(context, Ran(fslcore::cuda::Fetch(StreamOf(context), count, &triplets)));
    int32_t* indices[3];
    OP_REQUIRES_OK(context, AllocateTriplets(context, triplets, indices));
    OP_REQUIRES_OK(context, Ran(fslcore::cuda::MineTriplets(StreamOf(context), batch, room, triplets,
                                                            indices[0], indices[1], indices[2])));
  }
};

class SampleEpisodesGpuOp : public SampleEpisodesBase {
 public:
  using SampleEpisodesBase::SampleEpisodesBase;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Check(context));
    const auto labels = VectorOf<int64_t>(context->input(0));
    Tensor workspace, *out;
    void* room;
    OP_REQUIRES_OK(context, Allocate(context, &out));
    OP_REQUIRES_OK(
        context, AllocateWorkspace(context, fslcore::cuda::SampleEpisodesWorkspace(labels, shape_, episodes_),
                                   &workspace, &room));
    OP_REQUIRES_OK(context,
                   Ran(fslcore::cuda::SampleEpisodes(
                       StreamOf(context), labels, shape_, episodes_, context->input(1).flat<int64_t>().data(),
                       context->input(2).flat<int64_t>().data(), room, out->flat<int32_t>().data())));
  }
};

class GatherImagesGpuOp : public GatherImagesBase {
 public:
  using GatherImagesBase::GatherImagesBase;
  void Compute(OpKernelContext* context) override {
    fslcore::Images images;
    OP_REQUIRES_OK(context, Check(context, &images));
    Tensor* out;
    OP_REQUIRES_OK(context, Allocate(context, images, &out));
    OP_REQUIRES_OK(context, Ran(fslcore::cuda::GatherImages(
                                StreamOf(context), images, VectorOf<int64_t>(context->input(1)),
                                VectorOf<int64_t>(context->input(2)), change_, out->flat<float>().data())));
  }
};

REGISTER_KERNEL_BUILDER(Name("FslcorePairwise").Device(DEVICE_GPU), PairwiseGpuOp);
REGISTER_KERNEL_BUILDER(Name("FslcorePairwiseGrad").Device(DEVICE_GPU), PairwiseGradGpuOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreTripletLoss").Device(DEVICE_GPU), TripletLossGpuOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreMineTriplets").Device(DEVICE_GPU), MineTripletsGpuOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreSampleEpisodes").Device(DEVICE_GPU), SampleEpisodesGpuOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreGatherImages").Device(DEVICE_GPU), GatherImagesGpuOp);

}  // namespace
}  // namespace tensorflow::fslcore_bindings
