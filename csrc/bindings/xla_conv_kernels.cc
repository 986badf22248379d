// SPDX-License-Identifier: MIT
// The convolution ops inside XLA; see xla_kernels.cc. A batch of dynamic size is padded, and the handlers are
// told how many of its images are real: the others must not count for the mean.
#include <optional>
#include <vector>

#include "bindings/xla_calls.h"
#include "bindings/xla_handlers.h"
#include "core/conv_block.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "xla/shape_util.h"

namespace tensorflow::fslcore_bindings {
namespace {

class ConvOp : public HandlerOp {
 public:
  using HandlerOp::HandlerOp;

 protected:
  // All inputs, or a failure set on the context.
  static std::optional<std::vector<Input>> ConvInputs(XlaOpKernelContext* context) {
    auto inputs = Inputs(context);
    if (!inputs) return std::nullopt;
    for (const Input& input : *inputs)
      for (size_t axis = 1; axis < input.sizes.size(); ++axis)
        if (input.sizes[axis]) {
          context->CtxFailure(
              absl::UnimplementedError("inside XLA only the batch of a convolution may have a dynamic size"));
          return std::nullopt;
        }
    return inputs;
  }

  static void SetOutputs(XlaOpKernelContext* context, const std::vector<xla::XlaOp>& results) {
    for (int i = 0; i < static_cast<int>(results.size()); ++i) context->SetOutput(i, results[i]);
  }
};

class ConvBlockXla : public ConvOp {
 public:
  explicit ConvBlockXla(OpKernelConstruction* context) : ConvOp(context) {
    ReadAttribute(context, "strides", &strides_);
    ReadAttribute(context, "epsilon", &epsilon_);
  }
  void Compile(XlaOpKernelContext* context) override {
    auto inputs = ConvInputs(context);
    if (!inputs) return;
    const auto sizes = [&](size_t i) { return ShapeOf((*inputs)[i]); };
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckConvBlock(sizes(0), sizes(1), sizes(2), sizes(3),
                                                                  strides_, epsilon_)));
    const Input images = (*inputs)[0], beta = (*inputs)[3];
    const fslcore::ConvShape shape = {images.dim(0), images.dim(1), images.dim(2),
                                      images.dim(3), beta.dim(0),   strides_};
    const Output maps = {xla::ShapeUtil::MakeShape(
                             xla::F32, {shape.count, shape.out_height(), shape.out_width(), shape.filters}),
                         images.sizes};
    inputs->push_back(RowCount(context, images));
    SetOutputs(context, Call(context, "fslcore_conv_block", attributes_, *inputs,
                             {maps, maps, Like(beta), Like(beta)}));
  }

 private:
  int64_t strides_;
  float epsilon_;
};

class ConvBlockNormGradXla : public ConvOp {
 public:
  explicit ConvBlockNormGradXla(OpKernelConstruction* context) : ConvOp(context) {
    ReadAttribute(context, "epsilon", &epsilon_);
  }
  void Compile(XlaOpKernelContext* context) override {
    auto inputs = ConvInputs(context);
    if (!inputs) return;
    const auto sizes = [&](size_t i) { return ShapeOf((*inputs)[i]); };
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckConvBlockNormGrad(
                                sizes(0), sizes(1), sizes(2), sizes(3), sizes(4), sizes(5), epsilon_)));
    const std::vector<Output> outputs = {Like((*inputs)[1]), Like((*inputs)[4]), Like((*inputs)[5])};
    inputs->push_back(RowCount(context, (*inputs)[1]));
    SetOutputs(context, Call(context, "fslcore_conv_block_norm_grad", attributes_, *inputs, outputs));
  }

 private:
  float epsilon_;
};

class ConvInputGradXla : public ConvOp {
 public:
  explicit ConvInputGradXla(OpKernelConstruction* context) : ConvOp(context) {
    ReadAttribute(context, "strides", &strides_);
  }
  void Compile(XlaOpKernelContext* context) override {
    const auto inputs = ConvInputs(context);
    if (!inputs) return;
    const Input &images = (*inputs)[0], &kernel = (*inputs)[1], &grad = (*inputs)[2];
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckConvInputGrad(ShapeOf(images), ShapeOf(kernel),
                                                                      ShapeOf(grad), strides_)));
    SetOutputs(context, Call(context, "fslcore_conv_input_grad", attributes_,
                             {kernel, grad, RowCount(context, images)}, {Like(images)}));
  }

 private:
  int64_t strides_;
};

class ConvKernelGradXla : public ConvOp {
 public:
  explicit ConvKernelGradXla(OpKernelConstruction* context) : ConvOp(context) {
    ReadAttribute(context, "strides", &strides_);
  }
  void Compile(XlaOpKernelContext* context) override {
    const auto inputs = ConvInputs(context);
    if (!inputs) return;
    const Input &images = (*inputs)[0], &grad = (*inputs)[1];
    OP_REQUIRES_OK(context,
                   CheckSentence(fslcore::CheckConvKernelGrad(ShapeOf(images), ShapeOf(grad), strides_)));
    const Output kernel = {xla::ShapeUtil::MakeShape(xla::F32, {3, 3, images.dim(3), grad.dim(3)}), {}};
    SetOutputs(context, Call(context, "fslcore_conv_kernel_grad", attributes_,
                             {images, grad, RowCount(context, images)}, {kernel}));
  }

 private:
  int64_t strides_;
};

REGISTER_KERNEL_BUILDER(Name("FslcoreConvBlock").Device("XLA_CPU_JIT"), ConvBlockXla);
REGISTER_KERNEL_BUILDER(Name("FslcoreConvBlockNormGrad").Device("XLA_CPU_JIT"), ConvBlockNormGradXla);
REGISTER_KERNEL_BUILDER(Name("FslcoreConvInputGrad").Device("XLA_CPU_JIT"), ConvInputGradXla);
REGISTER_KERNEL_BUILDER(Name("FslcoreConvKernelGrad").Device("XLA_CPU_JIT"), ConvKernelGradXla);

[[maybe_unused]] const bool kRegistered =
    RegisterHandler("fslcore_conv_block", "Host", fslcore_conv_block_cpu) &&
    RegisterHandler("fslcore_conv_block_norm_grad", "Host", fslcore_conv_block_norm_grad_cpu) &&
    RegisterHandler("fslcore_conv_input_grad", "Host", fslcore_conv_input_grad_cpu) &&
    RegisterHandler("fslcore_conv_kernel_grad", "Host", fslcore_conv_kernel_grad_cpu);

}  // namespace
}  // namespace tensorflow::fslcore_bindings
