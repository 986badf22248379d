// SPDX-License-Identifier: MIT
// The same TensorFlow ops inside XLA: each becomes a typed custom call to its handler in xla_handlers.cc.
//
// Registered with REGISTER_KERNEL_BUILDER on the JIT device, not with REGISTER_XLA_OP: that registry is read
// once, at the first compilation, and would miss a library loaded after it.
#include <optional>
#include <string>
#include <vector>

#include "bindings/xla_calls.h"
#include "bindings/xla_handlers.h"
#include "core/fitting/adam_step.h"
#include "core/pairwise/pairwise.h"
#include "core/images/images.h"
#include "core/triplets/triplets.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

namespace tensorflow::fslcore_bindings {
namespace {

fslcore::Matrix<const float> ShapeOnly(const Input& input) { return {nullptr, input.dim(0), input.dim(1)}; }

class PairwiseBase : public HandlerOp {
 public:
  explicit PairwiseBase(OpKernelConstruction* context) : HandlerOp(context) {
    std::string metric, activation, precision;
    ReadAttribute(context, "metric", &metric);
    ReadAttribute(context, "activation", &activation);
    ReadAttribute(context, "precision", &precision);
    kernel_.metric = fslcore::ParseMetric(metric).value();
    kernel_.activation = fslcore::ParseActivation(activation).value();
  }

 protected:
  absl::Status Check(const std::vector<Input>& inputs) const {
    TF_RETURN_IF_ERROR(CheckRank("x", inputs[0], 2));
    TF_RETURN_IF_ERROR(CheckRank("y", inputs[1], 2));
    TF_RETURN_IF_ERROR(CheckRank("weights", inputs[2], 1));
    TF_RETURN_IF_ERROR(CheckRank("bias", inputs[3], 0));
    fslcore::PairwiseKernel kernel = kernel_;
    kernel.weights.size = inputs[2].dim(0);
    if (inputs.size() == 4)
      return CheckSentence(fslcore::CheckPairwise(kernel, ShapeOnly(inputs[0]), ShapeOnly(inputs[1])));
    TF_RETURN_IF_ERROR(CheckRank("grad", inputs[4], 2));
    TF_RETURN_IF_ERROR(CheckRank("out", inputs[5], 2));
    return CheckSentence(fslcore::CheckPairwiseGrad(kernel, ShapeOnly(inputs[0]), ShapeOnly(inputs[1]),
                                                    ShapeOnly(inputs[4]), ShapeOnly(inputs[5])));
  }

 private:
  fslcore::PairwiseKernel kernel_;
};

class PairwiseXla : public PairwiseBase {
 public:
  using PairwiseBase::PairwiseBase;
  void Compile(XlaOpKernelContext* context) override {
    const auto inputs = Inputs(context);
    if (!inputs) return;
    OP_REQUIRES_OK(context, Check(*inputs));
    const Input &x = (*inputs)[0], &y = (*inputs)[1];
    const Output out = {xla::ShapeUtil::MakeShape(xla::F32, {x.dim(0), y.dim(0)}), {x.sizes[0], y.sizes[0]}};
    context->SetOutput(0, Call(context, "fslcore_pairwise", attributes_, *inputs, {out})[0]);
  }
};

class PairwiseGradXla : public PairwiseBase {
 public:
  using PairwiseBase::PairwiseBase;
  void Compile(XlaOpKernelContext* context) override {
    const auto inputs = Inputs(context);
    if (!inputs) return;
    OP_REQUIRES_OK(context, Check(*inputs));
    const std::vector<Output> outputs = {Like((*inputs)[0]), Like((*inputs)[1]), Like((*inputs)[2]),
                                         Like((*inputs)[3])};
    const auto results = Call(context, "fslcore_pairwise_grad", attributes_, *inputs, outputs);
    for (int i = 0; i < 4; ++i) context->SetOutput(i, results[i]);
  }
};

absl::Status CheckBatch(const std::vector<Input>& inputs, const std::string& metric) {
  TF_RETURN_IF_ERROR(CheckRank("x", inputs[0], 2));
  TF_RETURN_IF_ERROR(CheckRank("labels", inputs[1], 1));
  return CheckSentence(
      fslcore::CheckTriplets(fslcore::ParseMetric(metric).value(), ShapeOnly(inputs[0]), inputs[1].dim(0)));
}

class TripletLossXla : public HandlerOp {
 public:
  explicit TripletLossXla(OpKernelConstruction* context) : HandlerOp(context) {
    std::string mining;
    float margin;
    ReadAttribute(context, "mining", &mining);
    ReadAttribute(context, "metric", &metric_);
    ReadAttribute(context, "margin", &margin);
  }
  void Compile(XlaOpKernelContext* context) override {
    auto inputs = Inputs(context);
    if (!inputs) return;
    OP_REQUIRES_OK(context, CheckBatch(*inputs, metric_));
    const Output grad = Like((*inputs)[0]);
    inputs->push_back(RowCount(context, (*inputs)[0]));
    const Output loss = {xla::ShapeUtil::MakeShape(xla::F32, {}), {}},
                 pairs = {xla::ShapeUtil::MakeShape(xla::S64, {}), {}};
    const auto results = Call(context, "fslcore_triplet_loss", attributes_, *inputs, {loss, grad, pairs});
    for (int i = 0; i < 3; ++i) context->SetOutput(i, results[i]);
  }

 private:
  std::string metric_;
};

class MineTripletsXla : public HandlerOp {
 public:
  explicit MineTripletsXla(OpKernelConstruction* context) : HandlerOp(context) {
    ReadAttribute(context, "mining", &mining_);
    ReadAttribute(context, "metric", &metric_);
  }
  void Compile(XlaOpKernelContext* context) override {
    auto inputs = Inputs(context);
    if (!inputs) return;
    OP_REQUIRES_OK(context, CheckBatch(*inputs, metric_));
    const int64_t batch = (*inputs)[0].dim(0);
    // One row has no triplet; with a bound of 1, XLA would make a gather from it a broadcast and lose its
    // size.
    const int64_t most = batch == 1 ? 0 : mining_ == "hard" ? batch : batch * (batch - 1);
    inputs->push_back(RowCount(context, (*inputs)[0]));
    const Output indices = {xla::ShapeUtil::MakeShape(xla::S32, {most}), {}};
    const Output pairs = {xla::ShapeUtil::MakeShape(xla::S32, {}), {}};
    const auto results =
        Call(context, "fslcore_mine_triplets", attributes_, *inputs, {indices, indices, indices, pairs});
    for (int i = 0; i < 3; ++i)
      context->SetOutput(i, most == 0 ? results[i] : xla::SetDimensionSize(results[i], results[3], 0));
  }

 private:
  std::string mining_, metric_;
};

class SampleEpisodesXla : public HandlerOp {
 public:
  explicit SampleEpisodesXla(OpKernelConstruction* context) : HandlerOp(context) {
    ReadAttribute(context, "n_way", &n_way_);
    ReadAttribute(context, "k_shot", &k_shot_);
    ReadAttribute(context, "n_query", &n_query_);
    ReadAttribute(context, "episodes", &episodes_);
  }
  void Compile(XlaOpKernelContext* context) override {
    const auto inputs = Inputs(context);
    if (!inputs) return;
    OP_REQUIRES(context, !(*inputs)[0].sizes[0],
                absl::UnimplementedError("labels must have a static shape to sample episodes inside XLA"));
    const Output out = {xla::ShapeUtil::MakeShape(xla::S32, {episodes_, n_way_, k_shot_ + n_query_}), {}};
    context->SetOutput(0, Call(context, "fslcore_sample_episodes", attributes_, *inputs, {out})[0]);
  }

 private:
  int64_t n_way_, k_shot_, n_query_, episodes_;
};

class GatherImagesXla : public HandlerOp {
 public:
  explicit GatherImagesXla(OpKernelConstruction* context) : HandlerOp(context) {
    ReadAttribute(context, "height", &change_.height);
    ReadAttribute(context, "width", &change_.width);
    ReadAttribute(context, "scale", &change_.scale);
    ReadAttribute(context, "shift", &change_.shift);
  }
  void Compile(XlaOpKernelContext* context) override {
    const auto inputs = Inputs(context);
    if (!inputs) return;
    OP_REQUIRES_OK(context, CheckRank("store", (*inputs)[0], 4));
    const Input &store = (*inputs)[0], &indices = (*inputs)[1];
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckRotations(ShapeOf(indices), ShapeOf((*inputs)[2]))));
    std::vector<int64_t> dims = ShapeOf(indices);
    Sizes sizes = indices.sizes;
    for (int64_t size : {change_.out_height(store.dim(1)), change_.out_width(store.dim(2)), store.dim(3)}) {
      dims.push_back(size);
      sizes.push_back(std::nullopt);
    }
    const Output out = {xla::ShapeUtil::MakeShape(xla::F32, dims), sizes};
    context->SetOutput(0, Call(context, "fslcore_gather_images", attributes_, *inputs, {out})[0]);
  }

 private:
  fslcore::ImageChange change_;
};

class AdamStepXla : public HandlerOp {
 public:
  explicit AdamStepXla(OpKernelConstruction* context) : HandlerOp(context) {
    float value;
    for (const char* name : {"learning_rate", "beta_2", "one_minus_beta_2", "epsilon"})
      ReadAttribute(context, name, &value);
  }
  void Compile(XlaOpKernelContext* context) override {
    const auto inputs = Inputs(context);
    if (!inputs) return;
    std::vector<fslcore::Sizes> shapes;
    for (const Input& input : *inputs) shapes.push_back(ShapeOf(input));
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckAdamStep(shapes)));
    const size_t count = inputs->size() / 3;
    std::vector<Output> outputs;
    for (size_t i = 0; i < 2 * count; ++i) outputs.push_back(Like((*inputs)[i % count]));
    outputs.push_back(Like(inputs->back()));
    const auto results = Call(context, "fslcore_adam_step", attributes_, *inputs, outputs);
    for (size_t i = 0; i < results.size(); ++i) context->SetOutput(static_cast<int>(i), results[i]);
  }
};

#define REGISTER_ON(device)                                                                 \
  REGISTER_KERNEL_BUILDER(Name("FslcorePairwise").Device(device), PairwiseXla);             \
  REGISTER_KERNEL_BUILDER(Name("FslcorePairwiseGrad").Device(device), PairwiseGradXla);     \
  REGISTER_KERNEL_BUILDER(Name("FslcoreTripletLoss").Device(device), TripletLossXla);       \
  REGISTER_KERNEL_BUILDER(Name("FslcoreMineTriplets").Device(device), MineTripletsXla);     \
  REGISTER_KERNEL_BUILDER(Name("FslcoreSampleEpisodes").Device(device), SampleEpisodesXla); \
  REGISTER_KERNEL_BUILDER(Name("FslcoreGatherImages").Device(device), GatherImagesXla)

REGISTER_ON("XLA_CPU_JIT");
REGISTER_KERNEL_BUILDER(Name("FslcoreAdamStep").Device("XLA_CPU_JIT"), AdamStepXla);

[[maybe_unused]] const bool kRegistered =
    RegisterHandler("fslcore_pairwise", "Host", fslcore_pairwise_cpu) &&
    RegisterHandler("fslcore_pairwise_grad", "Host", fslcore_pairwise_grad_cpu) &&
    RegisterHandler("fslcore_triplet_loss", "Host", fslcore_triplet_loss_cpu) &&
    RegisterHandler("fslcore_mine_triplets", "Host", fslcore_mine_triplets_cpu) &&
    RegisterHandler("fslcore_sample_episodes", "Host", fslcore_sample_episodes_cpu) &&
    RegisterHandler("fslcore_gather_images", "Host", fslcore_gather_images_cpu) &&
    RegisterHandler("fslcore_adam_step", "Host", fslcore_adam_step_cpu);

#if defined(FSLCORE_WITH_CUDA)
REGISTER_ON("XLA_GPU_JIT");

[[maybe_unused]] const bool kRegisteredForGpu =
    RegisterHandler("fslcore_pairwise", "CUDA", fslcore_pairwise_cuda) &&
    RegisterHandler("fslcore_pairwise_grad", "CUDA", fslcore_pairwise_grad_cuda) &&
    RegisterHandler("fslcore_triplet_loss", "CUDA", fslcore_triplet_loss_cuda) &&
    RegisterHandler("fslcore_mine_triplets", "CUDA", fslcore_mine_triplets_cuda) &&
    RegisterHandler("fslcore_sample_episodes", "CUDA", fslcore_sample_episodes_cuda) &&
    RegisterHandler("fslcore_gather_images", "CUDA", fslcore_gather_images_cuda);
#endif

}  // namespace
}  // namespace tensorflow::fslcore_bindings
