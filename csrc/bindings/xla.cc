// SPDX-License-Identifier: MIT
// The same TensorFlow ops inside XLA: each becomes a typed custom call to its handler.
//
// Registered with an OpKernelRegistrar on the JIT device, not with REGISTER_XLA_OP: that registry is read
// once, at the first compilation, and would miss a library loaded after it.
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "bindings/handlers.h"
#include "bindings/ops.h"
#include "bindings/tf_attributes.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "xla/hlo/builder/lib/constants.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

extern "C" const XLA_FFI_Api* XLA_FFI_GetApi();  // TensorFlow's own XLA

namespace tensorflow::fslcore_bindings {
namespace {

namespace bindings = fslcore::bindings;

// ---- attributes ------------------------------------------------------------------------------------------

// Writes the attributes as MLIR does; floats by their bits, so that none is rounded.
struct DictionaryWriter {
  std::vector<std::string> entries;

  template <class T, class... Allowed>
  void operator()(bindings::Key key, T& value, const Allowed&...) {
    entries.push_back(absl::StrCat(key.name, " = ", Text(value)));
  }

 private:
  static std::string Text(int64_t value) { return absl::StrCat(value, " : i64"); }
  static std::string Text(bool value) { return value ? "true" : "false"; }
  static std::string Text(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return absl::StrFormat("0x%08X : f32", bits);
  }
  template <class Enum>
  static std::string Text(Enum value) {
    return absl::StrCat("\"", bindings::NameOf(value), "\"");
  }
};

// ---- arguments and results -------------------------------------------------------------------------------

using DynamicSizes = std::vector<std::optional<xla::XlaOp>>;  // the real size of each bounded dynamic axis

// An input made static. XLA refuses dynamic axes on custom calls, so a bounded one (the result of
// tf.boolean_mask, say) is filled with zeros up to its bound; `sizes` remembers the real size.
struct StaticInput {
  xla::XlaOp op;
  xla::Shape shape;
  DynamicSizes sizes;
};

absl::StatusOr<StaticInput> MakeStatic(XlaOpKernelContext* context, int index) {
  TF_ASSIGN_OR_RETURN(const xla::Shape dynamic, context->InputXlaShape(index));
  StaticInput input = {
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

// In the order of bindings::Type.
constexpr xla::PrimitiveType kTypes[] = {xla::F32, xla::S32, xla::S64, xla::U8};

template <class O>
class XlaKernel : public XlaOpKernel {
 public:
  explicit XlaKernel(OpKernelConstruction* context) : XlaOpKernel(context) {
    OP_REQUIRES_OK(context, ReadAttributes(context, &attributes_));
  }

  void Compile(XlaOpKernelContext* context) override { OP_REQUIRES_OK(context, Lower(context)); }

 private:
  static const char* const kTarget;  // the handler's name

  // XLA drops a call whose result has no elements, and the handler's checks with it: what the sizes tell is
  // checked while compiling.
  absl::Status Lower(XlaOpKernelContext* context) {
    std::vector<StaticInput> inputs;
    bindings::Shapes bounds, marked, outputs;
    std::vector<xla::XlaOp> dynamic;  // a dynamic axis has a negative number in `marked`
    for (int i = 0; i < context->num_inputs(); ++i) {
      TF_ASSIGN_OR_RETURN(StaticInput input, MakeStatic(context, i));
      bounds.emplace_back(input.shape.dimensions().begin(), input.shape.dimensions().end());
      marked.push_back(bounds.back());
      for (size_t axis = 0; axis < input.sizes.size(); ++axis) {
        if (!input.sizes[axis]) continue;
        if (const char* reason = O::RefuseDynamic(axis)) return absl::UnimplementedError(reason);
        dynamic.push_back(*input.sizes[axis]);
        marked.back()[axis] = bindings::kUnknown - static_cast<int64_t>(dynamic.size());
      }
      inputs.push_back(std::move(input));
    }
    TF_RETURN_IF_ERROR(Invalid(bindings::CheckCall<O>(attributes_, bounds, &outputs)));
    TF_RETURN_IF_ERROR(Invalid(bindings::CheckInXla<O>(bounds, outputs)));
    const std::vector<xla::XlaOp> results = Call(context, inputs, outputs);
    const bindings::Shapes marks = O::OutputShapes(attributes_, marked);
    for (size_t i = 0; i < outputs.size(); ++i) {
      xla::XlaOp result = results[i];
      if (O::kCounts) {
        if (outputs[i][0] > 0) result = xla::SetDimensionSize(result, results.back(), 0);
      } else {
        for (size_t axis = 0; axis < marks[i].size(); ++axis)
          if (const int64_t mark = marks[i][axis]; mark < bindings::kUnknown)
            result =
                xla::SetDimensionSize(result, dynamic[static_cast<size_t>(bindings::kUnknown - mark - 1)],
                                      static_cast<int64_t>(axis));
      }
      context->SetOutput(static_cast<int>(i), result);
    }
    return absl::OkStatus();
  }

  // Calls the handler: one result per output, and the count behind them if the op counts.
  std::vector<xla::XlaOp> Call(XlaOpKernelContext* context, const std::vector<StaticInput>& inputs,
                               const bindings::Shapes& outputs) {
    std::vector<xla::XlaOp> operands;
    std::vector<xla::Shape> operand_shapes, result_shapes;
    const xla::Shape number = xla::ShapeUtil::MakeShape(xla::S32, {});
    for (const StaticInput& input : inputs) {
      operands.push_back(input.op);
      operand_shapes.push_back(input.shape);
    }
    if constexpr (O::kRows >= 0) {
      const StaticInput& batch = inputs[O::kRows];
      const auto bound = static_cast<int32_t>(batch.shape.dimensions(0));
      operands.push_back(batch.sizes[0] ? *batch.sizes[0]
                                        : xla::ConstantR0<int32_t>(context->builder(), bound));
      operand_shapes.push_back(number);
    }
    for (size_t i = 0; i < outputs.size(); ++i)
      result_shapes.push_back(xla::ShapeUtil::MakeShape(
          kTypes[static_cast<size_t>(bindings::ArgumentAt(O::kOutputs, i).type)], outputs[i]));
    if (O::kCounts) result_shapes.push_back(number);

    DictionaryWriter attributes;
    attributes_.Visit(attributes);
    const xla::XlaOp call = xla::CustomCallWithLayout(
        context->builder(), kTarget, operands, xla::ShapeUtil::MakeMaybeTupleShape(result_shapes),
        operand_shapes, absl::StrCat("{", absl::StrJoin(attributes.entries, ", "), "}"),
        /*has_side_effect=*/false, {}, nullptr, xla::CustomCallSchedule::SCHEDULE_NONE,
        xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
    if (result_shapes.size() == 1) return {call};
    std::vector<xla::XlaOp> results;
    for (size_t i = 0; i < result_shapes.size(); ++i)
      results.push_back(xla::GetTupleElement(call, static_cast<int64_t>(i)));
    return results;
  }

  typename O::Attributes attributes_;
};

// ---- registration ----------------------------------------------------------------------------------------

#define FSLCORE_NAME(Op, function) \
  template <>                      \
  const char* const XlaKernel<bindings::Op>::kTarget = "fslcore_" #function;
FSLCORE_XLA_OPS(FSLCORE_NAME)
#undef FSLCORE_NAME

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

// With TensorFlow's own XLA, for "Host" or "CUDA". A failure is logged.
void RegisterHandler(const char* name, const char* platform, XLA_FFI_Handler* handler) {
  const XLA_FFI_Api* api = XLA_FFI_GetApi();
  XLA_FFI_Handler_Register_Args args = {};
  args.struct_size = XLA_FFI_Handler_Register_Args_STRUCT_SIZE;
  args.name = {name, std::strlen(name)};
  args.platform = {platform, std::strlen(platform)};
  args.bundle = XLA_FFI_Handler_Bundle{nullptr, nullptr, nullptr, handler};
  if (XLA_FFI_Error* error = api->XLA_FFI_Handler_Register(&args))
    LOG(ERROR) << "fslcore could not register " << name << " for " << platform
               << " with XLA: " << TakeMessage(api, error);
}

template <class O>
void Register(const char* op, const char* device) {
  kernel_factory::OpKernelRegistrar(
      register_kernel::Name(op).Device(device).Build(), op,
      [](OpKernelConstruction* context) -> OpKernel* { return new XlaKernel<O>(context); });
}

[[maybe_unused]] const bool kRegistered = [] {
#define FSLCORE_REGISTER(Op, function)                  \
  Register<bindings::Op>("Fslcore" #Op, "XLA_CPU_JIT"); \
  RegisterHandler("fslcore_" #function, "Host", fslcore_##function##_cpu);
  FSLCORE_XLA_OPS(FSLCORE_REGISTER)
#undef FSLCORE_REGISTER
#ifdef FSLCORE_WITH_CUDA
#define FSLCORE_REGISTER(Op, function)                  \
  Register<bindings::Op>("Fslcore" #Op, "XLA_GPU_JIT"); \
  RegisterHandler("fslcore_" #function, "CUDA", fslcore_##function##_cuda);
  FSLCORE_GPU_OPS(FSLCORE_REGISTER)
#undef FSLCORE_REGISTER
#endif
  return true;
}();

}  // namespace
}  // namespace tensorflow::fslcore_bindings
