// SPDX-License-Identifier: MIT
// CPU kernels of the TensorFlow ops: check, view, call the core on the intra-op threads.
#include <string>
#include <vector>

#include "bindings/tf_arguments.h"
#include "core/adam_step.h"
#include "core/episodes.h"
#include "core/gram.h"
#include "core/images.h"
#include "core/triplets.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tensorflow::fslcore_bindings {
namespace {

class MetricOp : public OpKernel {
 public:
  explicit MetricOp(OpKernelConstruction* context) : OpKernel(context) {
    std::string name;
    OP_REQUIRES_OK(context, context->GetAttr("metric", &name));
    metric_ = fslcore::ParseMetric(name).value();  // the op admits known names only
  }

 protected:
  fslcore::Metric metric_;
};

class PairwiseBase : public MetricOp {
 public:
  explicit PairwiseBase(OpKernelConstruction* context) : MetricOp(context) {
    std::string name;
    OP_REQUIRES_OK(context, context->GetAttr("activation", &name));
    activation_ = fslcore::ParseActivation(name).value();
  }

 protected:
  absl::Status Check(OpKernelContext* context, fslcore::PairwiseKernel* kernel) const {
    TF_RETURN_IF_ERROR(CheckRank("x", context->input(0), 2));
    TF_RETURN_IF_ERROR(CheckRank("y", context->input(1), 2));
    TF_RETURN_IF_ERROR(CheckRank("weights", context->input(2), 1));
    TF_RETURN_IF_ERROR(CheckRank("bias", context->input(3), 0));
    *kernel = {metric_, activation_, VectorOf<float>(context->input(2)), context->input(3).scalar<float>()()};
    return CheckSentence(
        fslcore::CheckPairwise(*kernel, MatrixOf(context->input(0)), MatrixOf(context->input(1))));
  }

 private:
  fslcore::Activation activation_;
};

class PairwiseOp : public PairwiseBase {
 public:
  using PairwiseBase::PairwiseBase;
  void Compute(OpKernelContext* context) override {
    fslcore::PairwiseKernel kernel;
    OP_REQUIRES_OK(context, Check(context, &kernel));
    const auto x = MatrixOf(context->input(0)), y = MatrixOf(context->input(1));
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({x.rows, y.rows}), &out));
    fslcore::Pairwise(ExecutorOf(context), kernel, x, y, out->flat<float>().data());
  }
};

class PairwiseGradOp : public PairwiseBase {
 public:
  using PairwiseBase::PairwiseBase;
  void Compute(OpKernelContext* context) override {
    fslcore::PairwiseKernel kernel;
    OP_REQUIRES_OK(context, Check(context, &kernel));
    const auto x = MatrixOf(context->input(0)), y = MatrixOf(context->input(1));
    OP_REQUIRES_OK(context, CheckRank("grad", context->input(4), 2));
    OP_REQUIRES_OK(context, CheckRank("out", context->input(5), 2));
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckPairwiseGrad(
                                kernel, x, y, MatrixOf(context->input(4)), MatrixOf(context->input(5)))));
    Tensor* outputs[4];
    for (int i = 0; i < 4; ++i)
      OP_REQUIRES_OK(context, context->allocate_output(i, context->input(i).shape(), &outputs[i]));
    const auto data = [&](int i) { return outputs[i]->flat<float>().data(); };
    fslcore::PairwiseGrad(ExecutorOf(context), kernel, x, y, context->input(4).flat<float>().data(),
                          context->input(5).flat<float>().data(),
                          {data(0), data(1), kernel.weights.size > 0 ? data(2) : nullptr, data(3)});
  }
};

absl::Status CheckTriplets(OpKernelContext* context, fslcore::Metric metric) {
  TF_RETURN_IF_ERROR(CheckRank("x", context->input(0), 2));
  TF_RETURN_IF_ERROR(CheckRank("labels", context->input(1), 1));
  return CheckSentence(
      fslcore::CheckTriplets(metric, MatrixOf(context->input(0)), context->input(1).NumElements()));
}

class TripletOp : public MetricOp {
 public:
  explicit TripletOp(OpKernelConstruction* context) : MetricOp(context) {
    std::string mining;
    OP_REQUIRES_OK(context, context->GetAttr("mining", &mining));
    mining_ = fslcore::ParseMining(mining).value();
  }

 protected:
  fslcore::Mining mining_;
};

class TripletLossOp : public TripletOp {
 public:
  explicit TripletLossOp(OpKernelConstruction* context) : TripletOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("margin", &margin_));
  }
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckTriplets(context, metric_));
    Tensor *loss, *grad, *triplets;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({}), &loss));
    OP_REQUIRES_OK(context, context->allocate_output(1, context->input(0).shape(), &grad));
    OP_REQUIRES_OK(context, context->allocate_output(2, TensorShape({}), &triplets));
    const auto result = fslcore::TripletLossAndGrad(
        ExecutorOf(context), mining_, metric_, margin_, MatrixOf(context->input(0)),
        VectorOf<int64_t>(context->input(1)), grad->flat<float>().data());
    loss->scalar<float>()() = result.loss;
    triplets->scalar<int64_t>()() = result.triplets;
  }

 private:
  float margin_;
};

class MineTripletsOp : public TripletOp {
 public:
  using TripletOp::TripletOp;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckTriplets(context, metric_));
    const auto labels = VectorOf<int64_t>(context->input(1));
    const int64_t triplets = fslcore::CountTriplets(mining_, labels);
    Tensor* outputs[3];
    for (int i = 0; i < 3; ++i)
      OP_REQUIRES_OK(context, context->allocate_output(i, TensorShape({triplets}), &outputs[i]));
    const auto data = [&](int i) { return outputs[i]->flat<int32_t>().data(); };
    fslcore::MineTriplets(ExecutorOf(context), mining_, metric_, MatrixOf(context->input(0)), labels, data(0),
                          data(1), data(2));
  }
};

class SampleEpisodesOp : public OpKernel {
 public:
  explicit SampleEpisodesOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("n_way", &shape_.n_way));
    OP_REQUIRES_OK(context, context->GetAttr("k_shot", &shape_.k_shot));
    OP_REQUIRES_OK(context, context->GetAttr("n_query", &shape_.n_query));
    OP_REQUIRES_OK(context, context->GetAttr("episodes", &episodes_));
  }
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckRank("labels", context->input(0), 1));
    OP_REQUIRES_OK(context, CheckRank("seed", context->input(1), 0));
    OP_REQUIRES_OK(context, CheckRank("first_episode", context->input(2), 0));
    const fslcore::Classes classes(VectorOf<int64_t>(context->input(0)));
    const int64_t seed = context->input(1).scalar<int64_t>()(), first = context->input(2).scalar<int64_t>()();
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckEpisodes(classes, shape_, episodes_, seed, first)));
    Tensor* out;
    OP_REQUIRES_OK(
        context, context->allocate_output(0, TensorShape({episodes_, shape_.n_way, shape_.samples()}), &out));
    fslcore::SampleEpisodes(ExecutorOf(context), classes, shape_, episodes_, seed, first,
                            out->flat<int32_t>().data());
  }

 private:
  fslcore::EpisodeShape shape_;
  int64_t episodes_;
};

class GatherImagesOp : public OpKernel {
 public:
  explicit GatherImagesOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("height", &change_.height));
    OP_REQUIRES_OK(context, context->GetAttr("width", &change_.width));
    OP_REQUIRES_OK(context, context->GetAttr("scale", &change_.scale));
    OP_REQUIRES_OK(context, context->GetAttr("shift", &change_.shift));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor& store = context->input(0);
    OP_REQUIRES_OK(context, CheckRank("store", store, 4));
    const fslcore::Images images = {store.flat<uint8_t>().data(), store.dim_size(0), store.dim_size(1),
                                    store.dim_size(2), store.dim_size(3)};
    const auto indices = VectorOf<int64_t>(context->input(1)),
               rotations = VectorOf<int64_t>(context->input(2));
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckRotations(ShapeOf(context->input(1)),
                                                                  ShapeOf(context->input(2)))));
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckGather(images, indices, rotations, change_)));
    TensorShape shape = context->input(1).shape();
    for (int64_t size : {change_.out_height(images.height), change_.out_width(images.width), images.channels})
      shape.AddDim(size);
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &out));
    fslcore::GatherImages(ExecutorOf(context), images, indices, rotations, change_,
                          out->flat<float>().data());
  }

 private:
  fslcore::ImageChange change_;
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
