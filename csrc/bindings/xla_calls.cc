// SPDX-License-Identifier: MIT
#include "bindings/xla_calls.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "xla/hlo/builder/lib/constants.h"
#include "xla/shape_util.h"

extern "C" const XLA_FFI_Api* XLA_FFI_GetApi();  // TensorFlow's own XLA

namespace tensorflow::fslcore_bindings {
namespace {

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

}  // namespace

std::vector<int64_t> ShapeOf(const Input& input) {
  return {input.shape.dimensions().begin(), input.shape.dimensions().end()};
}

std::string Attribute(const char* name, int64_t value) { return absl::StrCat(name, " = ", value, " : i64"); }
std::string Attribute(const char* name, const std::string& value) {
  return absl::StrCat(name, " = \"", value, "\"");
}
std::string Attribute(const char* name, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return absl::StrFormat("%s = 0x%08X : f32", name, bits);
}

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

std::optional<std::vector<Input>> HandlerOp::Inputs(XlaOpKernelContext* context) {
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

absl::Status CheckSentence(const std::string& problem) {
  return problem.empty() ? absl::OkStatus() : absl::InvalidArgumentError(problem);
}

absl::Status CheckRank(const char* name, const Input& input, size_t rank) {
  if (input.sizes.size() == rank) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " must have ", rank, rank == 1 ? " axis" : " axes",
                                                 ", received shape [",
                                                 absl::StrJoin(input.shape.dimensions(), ", "), "]"));
}

Input RowCount(XlaOpKernelContext* context, const Input& x) {
  const xla::XlaOp rows =
      x.sizes[0] ? *x.sizes[0] : xla::ConstantR0<int32_t>(context->builder(), static_cast<int32_t>(x.dim(0)));
  return {rows, xla::ShapeUtil::MakeShape(xla::S32, {}), {}};
}

bool RegisterHandler(const char* name, const char* platform, XLA_FFI_Handler* handler) {
  const XLA_FFI_Api* api = XLA_FFI_GetApi();
  XLA_FFI_Handler_Register_Args args = {};
  args.struct_size = XLA_FFI_Handler_Register_Args_STRUCT_SIZE;
  args.name = {name, std::strlen(name)};
  args.platform = {platform, std::strlen(platform)};
  args.bundle = XLA_FFI_Handler_Bundle{nullptr, nullptr, nullptr, handler};
  XLA_FFI_Error* error = api->XLA_FFI_Handler_Register(&args);
  if (error)
    LOG(ERROR) << "fslcore could not register " << name << " for " << platform
               << " with XLA: " << TakeMessage(api, error);
  return !error;
}

}  // namespace tensorflow::fslcore_bindings
