// SPDX-License-Identifier: MIT
// The same TensorFlow ops inside XLA: each becomes a typed custom call to its handler in xla_handlers.cc.
//
// Registered with REGISTER_KERNEL_BUILDER on the JIT device, not with REGISTER_XLA_OP: that registry is read
// once, at the first compilation, and would miss a library loaded after it.
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "bindings/xla_handlers.h"
#include "core/gram.h"
#include "core/images.h"
#include "core/triplets.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "xla/ffi/api/c_api.h"
#include "xla/hlo/builder/lib/constants.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

extern "C" const XLA_FFI_Api* XLA_FFI_GetApi();  // TensorFlow's own XLA

namespace tensorflow {
namespace {

using Sizes = std::vector<std::optional<xla::XlaOp>>;  // the real size of each bounded dynamic axis

// An input made static. XLA refuses dynamic axes on custom calls, so a bounded one (the result of
// tf.boolean_mask, say) is filled with zeros up to its bound; `sizes` remembers the real size.
struct Input {
  xla::XlaOp op;
  xla::Shape shape;
  Sizes sizes;

  int64_t dim(int axis) const { return shape.dimensions(axis); }
};

struct Output {
  xla::Shape shape;
  Sizes sizes;
};

absl::StatusOr<Input> StaticInput(XlaOpKernelContext* context, int index) {
  TF_ASSIGN_OR_RETURN(const xla::Shape dynamic, context->InputXlaShape(index));
  Input input = {
      context->Input(index), xla::ShapeUtil::MakeShape(dynamic.element_type(), dynamic.dimensions()), {}};
  input.sizes.resize(dynamic.dimensions().size());
  for (int axis = 0; axis < static_cast<int>(input.sizes.size()); ++axis) {
    if (!dynamic.is_dynamic_dimension(axis)) continue;
    const xla::XlaOp size = xla::GetDimensionSize(input.op, axis);
    const xla::XlaOp position =
        xla::Iota(context->builder(), xla::ShapeUtil::MakeShape(xla::S32, dynamic.dimensions()), axis);
    const xla::XlaOp zeros =
        xla::Broadcast(xla::Zero(context->builder(), dynamic.element_type()), dynamic.dimensions());
    input.op = xla::Select(xla::Lt(position, size), xla::RemoveDynamicDimension(input.op, axis), zeros);
    input.sizes[axis] = size;
  }
  return input;
}

Output Like(const Input& input) { return {input.shape, input.sizes}; }

// An attribute of the custom call, as MLIR writes it; floats by their bits, so that none is rounded.
std::string Attribute(const char* name, int64_t value) { return absl::StrCat(name, " = ", value, " : i64"); }
std::string Attribute(const char* name, const std::string& value) {
  return absl::StrCat(name, " = \"", value, "\"");
}
std::string Attribute(const char* name, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return absl::StrFormat("%s = 0x%08X : f32", name, bits);
}

// Calls the handler `target`; one result per output, in order.
std::vector<xla::XlaOp> Call(XlaOpKernelContext* context, const std::string& target,
                             const std::vector<std::string>& attributes, const std::vector<Input>& inputs,
                             const std::vector<Output>& outputs) {
  std::vector<xla::XlaOp> operands, results;
  std::vector<xla::Shape> operand_shapes, result_shapes;
  for (const Input& input : inputs) {
    operands.push_back(input.op);
    operand_shapes.push_back(input.shape);
  }
  for (const Output& output : outputs) result_shapes.push_back(output.shape);
  const xla::XlaOp call = xla::CustomCallWithLayout(
      context->builder(), target, operands, xla::ShapeUtil::MakeMaybeTupleShape(result_shapes),
      operand_shapes, absl::StrCat("{", absl::StrJoin(attributes, ", "), "}"), /*has_side_effect=*/false, {},
      nullptr, xla::CustomCallSchedule::SCHEDULE_NONE, xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
  for (int i = 0; i < static_cast<int>(outputs.size()); ++i) {
    xla::XlaOp result = outputs.size() == 1 ? call : xla::GetTupleElement(call, i);
    for (int axis = 0; axis < static_cast<int>(outputs[i].sizes.size()); ++axis)
      if (outputs[i].sizes[axis]) result = xla::SetDimensionSize(result, *outputs[i].sizes[axis], axis);
    results.push_back(result);
  }
  return results;
}

// An op whose attributes go to the handler as they are.
class HandlerOp : public XlaOpKernel {
 public:
  explicit HandlerOp(OpKernelConstruction* context) : XlaOpKernel(context) {}

 protected:
  template <class T>
  void ReadAttribute(OpKernelConstruction* context, const char* name, T* value) {
    OP_REQUIRES_OK(context, context->GetAttr(name, value));
    attributes_.push_back(Attribute(name, *value));
  }

  // All inputs, or a failure set on the context.
  std::optional<std::vector<Input>> Inputs(XlaOpKernelContext* context) {
    std::vector<Input> inputs;
    for (int i = 0; i < context->num_inputs(); ++i) {
      absl::StatusOr<Input> input = StaticInput(context, i);
      if (!input.ok()) {
        context->CtxFailure(input.status());
        return std::nullopt;
      }
      inputs.push_back(*std::move(input));
    }
    return inputs;
  }

  std::vector<std::string> attributes_;
};

// XLA drops a call whose result has no elements, and the handler's checks with it: what the shapes can tell
// is checked while compiling.
absl::Status CheckSentence(const std::string& problem) {
  return problem.empty() ? absl::OkStatus() : absl::InvalidArgumentError(problem);
}

absl::Status CheckRank(const char* name, const Input& input, size_t rank) {
  if (input.sizes.size() == rank) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " must have ", rank, rank == 1 ? " axis" : " axes",
                                                 ", received shape [",
                                                 absl::StrJoin(input.shape.dimensions(), ", "), "]"));
}

fslcore::Matrix<const float> ShapeOnly(const Input& input) { return {nullptr, input.dim(0), input.dim(1)}; }

class PairwiseBase : public HandlerOp {
 public:
  explicit PairwiseBase(OpKernelConstruction* context) : HandlerOp(context) {
    std::string metric, activation;
    ReadAttribute(context, "metric", &metric);
    ReadAttribute(context, "activation", &activation);
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

// The number of real rows of x, as an operand: the padding of a dynamic batch has no label.
Input RowCount(XlaOpKernelContext* context, const Input& x) {
  const xla::XlaOp rows =
      x.sizes[0] ? *x.sizes[0] : xla::ConstantR0<int32_t>(context->builder(), static_cast<int32_t>(x.dim(0)));
  return {rows, xla::ShapeUtil::MakeShape(xla::S32, {}), {}};
}

class TripletSemihardXla : public HandlerOp {
 public:
  explicit TripletSemihardXla(OpKernelConstruction* context) : HandlerOp(context) {
    float margin;
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
    const auto results = Call(context, "fslcore_triplet_semihard", attributes_, *inputs, {loss, grad, pairs});
    for (int i = 0; i < 3; ++i) context->SetOutput(i, results[i]);
  }

 private:
  std::string metric_;
};

class MineSemihardXla : public HandlerOp {
 public:
  explicit MineSemihardXla(OpKernelConstruction* context) : HandlerOp(context) {
    ReadAttribute(context, "metric", &metric_);
  }
  void Compile(XlaOpKernelContext* context) override {
    auto inputs = Inputs(context);
    if (!inputs) return;
    OP_REQUIRES_OK(context, CheckBatch(*inputs, metric_));
    const int64_t batch = (*inputs)[0].dim(0), most_pairs = batch * (batch - 1);
    inputs->push_back(RowCount(context, (*inputs)[0]));
    const Output indices = {xla::ShapeUtil::MakeShape(xla::S32, {most_pairs}), {}};
    const Output pairs = {xla::ShapeUtil::MakeShape(xla::S32, {}), {}};
    const auto results =
        Call(context, "fslcore_mine_semihard", attributes_, *inputs, {indices, indices, indices, pairs});
    for (int i = 0; i < 3; ++i)
      context->SetOutput(i, most_pairs == 0 ? results[i] : xla::SetDimensionSize(results[i], results[3], 0));
  }

 private:
  std::string metric_;
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
    float value;
    ReadAttribute(context, "scale", &value);
    ReadAttribute(context, "shift", &value);
  }
  void Compile(XlaOpKernelContext* context) override {
    const auto inputs = Inputs(context);
    if (!inputs) return;
    OP_REQUIRES_OK(context, CheckRank("store", (*inputs)[0], 4));
    const Input &store = (*inputs)[0], &indices = (*inputs)[1];
    const auto shape_of = [](const Input& input) {
      return std::vector<int64_t>(input.shape.dimensions().begin(), input.shape.dimensions().end());
    };
    OP_REQUIRES_OK(context,
                   CheckSentence(fslcore::CheckRotations(shape_of(indices), shape_of((*inputs)[2]))));
    std::vector<int64_t> dims = shape_of(indices);
    Sizes sizes = indices.sizes;
    for (int axis = 1; axis < 4; ++axis) {
      dims.push_back(store.dim(axis));
      sizes.push_back(std::nullopt);
    }
    const Output out = {xla::ShapeUtil::MakeShape(xla::F32, dims), sizes};
    context->SetOutput(0, Call(context, "fslcore_gather_images", attributes_, *inputs, {out})[0]);
  }
};

REGISTER_KERNEL_BUILDER(Name("FslcorePairwise").Device("XLA_CPU_JIT"), PairwiseXla);
REGISTER_KERNEL_BUILDER(Name("FslcorePairwiseGrad").Device("XLA_CPU_JIT"), PairwiseGradXla);
REGISTER_KERNEL_BUILDER(Name("FslcoreTripletSemihard").Device("XLA_CPU_JIT"), TripletSemihardXla);
REGISTER_KERNEL_BUILDER(Name("FslcoreMineSemihard").Device("XLA_CPU_JIT"), MineSemihardXla);
REGISTER_KERNEL_BUILDER(Name("FslcoreSampleEpisodes").Device("XLA_CPU_JIT"), SampleEpisodesXla);
REGISTER_KERNEL_BUILDER(Name("FslcoreGatherImages").Device("XLA_CPU_JIT"), GatherImagesXla);

std::string TakeMessage(const XLA_FFI_Api* api, XLA_FFI_Error* error) {
  XLA_FFI_Error_GetMessage_Args message = {};
  message.struct_size = XLA_FFI_Error_GetMessage_Args_STRUCT_SIZE;
  message.error = error;
  api->XLA_FFI_Error_GetMessage(&message);
  const std::string text = message.message;
  XLA_FFI_Error_Destroy_Args destroy = {};
  destroy.struct_size = XLA_FFI_Error_Destroy_Args_STRUCT_SIZE;
  destroy.error = error;
  api->XLA_FFI_Error_Destroy(&destroy);
  return text;
}

bool RegisterHandler(const char* name, XLA_FFI_Handler* handler) {
  constexpr char kPlatform[] = "Host";
  const XLA_FFI_Api* api = XLA_FFI_GetApi();
  XLA_FFI_Handler_Register_Args args = {};
  args.struct_size = XLA_FFI_Handler_Register_Args_STRUCT_SIZE;
  args.name = {name, std::strlen(name)};
  args.platform = {kPlatform, sizeof kPlatform - 1};
  args.bundle = XLA_FFI_Handler_Bundle{nullptr, nullptr, nullptr, handler};
  XLA_FFI_Error* error = api->XLA_FFI_Handler_Register(&args);
  if (error) LOG(ERROR) << "fslcore could not register " << name << " with XLA: " << TakeMessage(api, error);
  return !error;
}

[[maybe_unused]] const bool kRegistered =
    RegisterHandler("fslcore_pairwise", fslcore_pairwise_cpu) &&
    RegisterHandler("fslcore_pairwise_grad", fslcore_pairwise_grad_cpu) &&
    RegisterHandler("fslcore_triplet_semihard", fslcore_triplet_semihard_cpu) &&
    RegisterHandler("fslcore_mine_semihard", fslcore_mine_semihard_cpu) &&
    RegisterHandler("fslcore_sample_episodes", fslcore_sample_episodes_cpu) &&
    RegisterHandler("fslcore_gather_images", fslcore_gather_images_cpu);

}  // namespace
}  // namespace tensorflow
