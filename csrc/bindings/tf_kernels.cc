// SPDX-License-Identifier: MIT
// CPU kernels of the TensorFlow ops: check, view, call the core on the intra-op threads.
#include "bindings/tf_kernels.h"

#include <vector>

#include "bindings/tf_arguments.h"
#include "core/fitting/adam_step.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tensorflow::fslcore_bindings {
namespace {

class PairwiseOp : public PairwiseBase {
 public:
  using PairwiseBase::PairwiseBase;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Check(context));
    const auto x = MatrixOf(context->input(0)), y = MatrixOf(context->input(1));
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({x.rows, y.rows}), &out));
    fslcore::Pairwise(ExecutorOf(context), Kernel(context), x, y, out->flat<float>().data());
  }

 protected:
  fslcore::PairwiseKernel Kernel(OpKernelContext* context) const {
    return {metric_, activation_, VectorOf<float>(context->input(2)), context->input(3).scalar<float>()()};
  }
};

class PairwiseGradOp : public PairwiseOp {
 public:
  using PairwiseOp::PairwiseOp;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Check(context));
    float* gradients[4];
    OP_REQUIRES_OK(context, AllocateGradients(context, gradients));
    fslcore::PairwiseGrad(ExecutorOf(context), Kernel(context), MatrixOf(context->input(0)),
                          MatrixOf(context->input(1)), context->input(4).flat<float>().data(),
                          context->input(5).flat<float>().data(),
                          {gradients[0], gradients[1], gradients[2], gradients[3]});
  }
};

class TripletLossOp : public TripletLossBase {
 public:
  using TripletLossBase::TripletLossBase;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Check(context));
    Outputs outputs;
    OP_REQUIRES_OK(context, Allocate(context, &outputs));
    const auto result = fslcore::TripletLossAndGrad(
        ExecutorOf(context), mining_, metric_, margin_, MatrixOf(context->input(0)),
        VectorOf<int64_t>(context->input(1)), outputs.grad->flat<float>().data());
    outputs.loss->scalar<float>()() = result.loss;
    outputs.triplets->scalar<int64_t>()() = result.triplets;
  }
};

class MineTripletsOp : public TripletBase {
 public:
  using TripletBase::TripletBase;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Check(context));
    const auto labels = VectorOf<int64_t>(context->input(1));
    int32_t* indices[3];
    OP_REQUIRES_OK(context, AllocateTriplets(context, fslcore::CountTriplets(mining_, labels), indices));
    fslcore::MineTriplets(ExecutorOf(context), mining_, metric_, MatrixOf(context->input(0)), labels,
                          indices[0], indices[1], indices[2]);
  }
};

class SampleEpisodesOp : public SampleEpisodesBase {
 public:
  using SampleEpisodesBase::SampleEpisodesBase;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Check(context));
    const fslcore::Classes classes(VectorOf<int64_t>(context->input(0)));
    const int64_t seed = context->input(1).scalar<int64_t>()(), first = context->input(2).scalar<int64_t>()();
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckEpisodes(classes, shape_, episodes_, seed, first)));
    Tensor* out;
    OP_REQUIRES_OK(context, Allocate(context, &out));
    fslcore::SampleEpisodes(ExecutorOf(context), classes, shape_, episodes_, seed, first,
                            out->flat<int32_t>().data());
  }
};

class GatherImagesOp : public GatherImagesBase {
 public:
  using GatherImagesBase::GatherImagesBase;
  void Compute(OpKernelContext* context) override {
    fslcore::Images images;
    OP_REQUIRES_OK(context, Check(context, &images));
    const auto indices = VectorOf<int64_t>(context->input(1)),
               rotations = VectorOf<int64_t>(context->input(2));
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckGather(images, indices, rotations, change_)));
    Tensor* out;
    OP_REQUIRES_OK(context, Allocate(context, images, &out));
    fslcore::GatherImages(ExecutorOf(context), images, indices, rotations, change_,
                          out->flat<float>().data());
  }
};

class AdamStepOp : public OpKernel {
 public:
  explicit AdamStepOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("learning_rate", &settings_.learning_rate));
    OP_REQUIRES_OK(context, context->GetAttr("beta_2", &settings_.beta_2));
    OP_REQUIRES_OK(context, context->GetAttr("one_minus_beta_2", &settings_.one_minus_beta_2));
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &settings_.epsilon));
  }
  void Compute(OpKernelContext* context) override {
    const int count = context->num_inputs() / 3;
    std::vector<fslcore::Sizes> shapes;
    for (int i = 0; i < context->num_inputs(); ++i) shapes.push_back(ShapeOf(context->input(i)));
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckAdamStep(shapes)));
    std::vector<fslcore::AdamTensor> tensors;
    for (int i = 0; i < count; ++i) {
      const Tensor &weights = context->input(i), &gradients = context->input(count + i),
                   &squares = context->input(2 * count + i);
      Tensor *new_weights, *new_squares;
      OP_REQUIRES_OK(context, context->forward_input_or_allocate_output({i, count + i}, i, weights.shape(),
                                                                        &new_weights));
      OP_REQUIRES_OK(context, context->forward_input_or_allocate_output({2 * count + i}, count + i,
                                                                        squares.shape(), &new_squares));
      tensors.push_back({weights.NumElements(), weights.flat<float>().data(), gradients.flat<float>().data(),
                         squares.flat<float>().data(), new_weights->flat<float>().data(),
                         new_squares->flat<float>().data()});
    }
    Tensor* new_power;
    OP_REQUIRES_OK(context, context->allocate_output(2 * count, TensorShape({}), &new_power));
    new_power->scalar<float>()() =
        fslcore::AdamStep(settings_, tensors, context->input(3 * count).scalar<float>()());
  }

 private:
  fslcore::AdamSettings settings_;
};

REGISTER_KERNEL_BUILDER(Name("FslcorePairwise").Device(DEVICE_CPU), PairwiseOp);
REGISTER_KERNEL_BUILDER(Name("FslcorePairwiseGrad").Device(DEVICE_CPU), PairwiseGradOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreTripletLoss").Device(DEVICE_CPU), TripletLossOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreMineTriplets").Device(DEVICE_CPU), MineTripletsOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreSampleEpisodes").Device(DEVICE_CPU), SampleEpisodesOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreGatherImages").Device(DEVICE_CPU), GatherImagesOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreAdamStep").Device(DEVICE_CPU), AdamStepOp);

}  // namespace
}  // namespace tensorflow::fslcore_bindings
