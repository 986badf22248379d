// SPDX-License-Identifier: MIT
// What the kernels of an op share on every device: its attributes, what the shapes tell, its outputs.
#pragma once
#include <string>
#include <vector>

#include "bindings/tf_arguments.h"
#include "core/episodes/episodes.h"
#include "core/pairwise/pairwise.h"
#include "core/images/images.h"
#include "core/triplets/triplets.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tensorflow::fslcore_bindings {

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
    std::string activation, precision;
    OP_REQUIRES_OK(context, context->GetAttr("activation", &activation));
    OP_REQUIRES_OK(context, context->GetAttr("precision", &precision));
    activation_ = fslcore::ParseActivation(activation).value();
    precision_ = fslcore::ParsePrecision(precision).value();
  }

 protected:
  absl::Status Check(OpKernelContext* context) const {
    TF_RETURN_IF_ERROR(CheckRank("x", context->input(0), 2));
    TF_RETURN_IF_ERROR(CheckRank("y", context->input(1), 2));
    TF_RETURN_IF_ERROR(CheckRank("weights", context->input(2), 1));
    TF_RETURN_IF_ERROR(CheckRank("bias", context->input(3), 0));
    const fslcore::PairwiseKernel kernel = {metric_, activation_, VectorOf<float>(context->input(2))};
    const auto x = MatrixOf(context->input(0)), y = MatrixOf(context->input(1));
    if (context->num_inputs() == 4) return CheckSentence(fslcore::CheckPairwise(kernel, x, y));
    TF_RETURN_IF_ERROR(CheckRank("grad", context->input(4), 2));
    TF_RETURN_IF_ERROR(CheckRank("out", context->input(5), 2));
    return CheckSentence(
        fslcore::CheckPairwiseGrad(kernel, x, y, MatrixOf(context->input(4)), MatrixOf(context->input(5))));
  }

  // A gradient has the shape of its input.
  static absl::Status AllocateGradients(OpKernelContext* context, float* gradients[4]) {
    for (int i = 0; i < 4; ++i) {
      Tensor* output;
      TF_RETURN_IF_ERROR(context->allocate_output(i, context->input(i).shape(), &output));
      gradients[i] = output->flat<float>().data();
    }
    if (context->input(2).NumElements() == 0) gradients[2] = nullptr;
    return absl::OkStatus();
  }

  fslcore::Activation activation_;
  fslcore::Precision precision_;
};

class TripletBase : public MetricOp {
 public:
  explicit TripletBase(OpKernelConstruction* context) : MetricOp(context) {
    std::string mining;
    OP_REQUIRES_OK(context, context->GetAttr("mining", &mining));
    mining_ = fslcore::ParseMining(mining).value();
  }

 protected:
  absl::Status Check(OpKernelContext* context) const {
    TF_RETURN_IF_ERROR(CheckRank("x", context->input(0), 2));
    TF_RETURN_IF_ERROR(CheckRank("labels", context->input(1), 1));
    return CheckSentence(
        fslcore::CheckTriplets(metric_, MatrixOf(context->input(0)), context->input(1).NumElements()));
  }

  // Anchors, positives and negatives.
  static absl::Status AllocateTriplets(OpKernelContext* context, int64_t triplets, int32_t* indices[3]) {
    for (int i = 0; i < 3; ++i) {
      Tensor* output;
      TF_RETURN_IF_ERROR(context->allocate_output(i, TensorShape({triplets}), &output));
      indices[i] = output->flat<int32_t>().data();
    }
    return absl::OkStatus();
  }

  fslcore::Mining mining_;
};

class TripletLossBase : public TripletBase {
 public:
  explicit TripletLossBase(OpKernelConstruction* context) : TripletBase(context) {
    OP_REQUIRES_OK(context, context->GetAttr("margin", &margin_));
  }

 protected:
  struct Outputs {
    Tensor *loss, *grad, *triplets;
  };
  static absl::Status Allocate(OpKernelContext* context, Outputs* outputs) {
    TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({}), &outputs->loss));
    TF_RETURN_IF_ERROR(context->allocate_output(1, context->input(0).shape(), &outputs->grad));
    return context->allocate_output(2, TensorShape({}), &outputs->triplets);
  }

  float margin_;
};

class SampleEpisodesBase : public OpKernel {
 public:
  explicit SampleEpisodesBase(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("n_way", &shape_.n_way));
    OP_REQUIRES_OK(context, context->GetAttr("k_shot", &shape_.k_shot));
    OP_REQUIRES_OK(context, context->GetAttr("n_query", &shape_.n_query));
    OP_REQUIRES_OK(context, context->GetAttr("episodes", &episodes_));
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckEpisodeCounts(shape_, episodes_)));
  }

 protected:
  static absl::Status Check(OpKernelContext* context) {
    TF_RETURN_IF_ERROR(CheckRank("labels", context->input(0), 1));
    TF_RETURN_IF_ERROR(CheckRank("seed", context->input(1), 0));
    return CheckRank("first_episode", context->input(2), 0);
  }
  absl::Status Allocate(OpKernelContext* context, Tensor** out) const {
    return context->allocate_output(0, TensorShape({episodes_, shape_.n_way, shape_.samples()}), out);
  }

  fslcore::EpisodeShape shape_;
  int64_t episodes_;
};

class GatherImagesBase : public OpKernel {
 public:
  explicit GatherImagesBase(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("height", &change_.height));
    OP_REQUIRES_OK(context, context->GetAttr("width", &change_.width));
    OP_REQUIRES_OK(context, context->GetAttr("scale", &change_.scale));
    OP_REQUIRES_OK(context, context->GetAttr("shift", &change_.shift));
  }

 protected:
  absl::Status Check(OpKernelContext* context, fslcore::Images* images) const {
    const Tensor& store = context->input(0);
    TF_RETURN_IF_ERROR(CheckRank("store", store, 4));
    *images = {store.flat<uint8_t>().data(), store.dim_size(0), store.dim_size(1), store.dim_size(2),
               store.dim_size(3)};
    TF_RETURN_IF_ERROR(
        CheckSentence(fslcore::CheckRotations(ShapeOf(context->input(1)), ShapeOf(context->input(2)))));
    return CheckSentence(fslcore::CheckChange(*images, change_));
  }
  absl::Status Allocate(OpKernelContext* context, const fslcore::Images& images, Tensor** out) const {
    TensorShape shape = context->input(1).shape();
    for (int64_t size : {change_.out_height(images.height), change_.out_width(images.width), images.channels})
      shape.AddDim(size);
    return context->allocate_output(0, shape, out);
  }

  fslcore::ImageChange change_;
};

}  // namespace tensorflow::fslcore_bindings
