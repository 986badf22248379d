// SPDX-License-Identifier: MIT
// The convolution ops inside XLA; see xla_kernels.cc. A batch of dynamic size is padded, and the handlers are
// told how many of its images are real: the others must not count for the mean.
#include <optional>
#include <vector>

#include "bindings/xla_calls.h"
#include "bindings/xla_handlers.h"
#include "core/convolution/conv_block.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "xla/shape_util.h"

namespace tensorflow::fslcore_bindings {
namespace {

class ConvOp : public HandlerOp {
 public:
  explicit ConvOp(OpKernelConstruction* context) : HandlerOp(context) {
    std::string precision;
    ReadAttribute(context, "strides", &options_.stride);
    ReadAttribute(context, "pool_size", &options_.pool);
    ReadAttribute(context, "epsilon", &options_.epsilon);
    ReadAttribute(context, "precision", &precision);
    options_.precision = fslcore::ParsePrecision(precision).value();
  }

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

  fslcore::ConvBlockOptions options_;
};

class ConvBlockXla : public ConvOp {
 public:
  using ConvOp::ConvOp;
  void Compile(XlaOpKernelContext* context) override {
    auto inputs = ConvInputs(context);
    if (!inputs) return;
    const auto sizes = [&](size_t i) { return ShapeOf((*inputs)[i]); };
    OP_REQUIRES_OK(context,
                   CheckSentence(fslcore::CheckConvBlock(sizes(0), sizes(1), sizes(2), sizes(3), options_)));
    const Input images = (*inputs)[0], beta = (*inputs)[3];
    const auto shape = fslcore::ConvBlockShapeOf(sizes(0), sizes(1), options_);
    const auto of = [&](int64_t count, int64_t height, int64_t width) {
      return xla::ShapeUtil::MakeShape(xla::F32, {count, height, width, shape.conv.filters});
    };
    const bool keeps = fslcore::KeepsMaps(shape.conv);
    const Output outputs = {of(shape.conv.count, shape.out_height(), shape.out_width()), images.sizes};
    const Output maps = {of(keeps ? shape.conv.count : 0, shape.conv.map_height(), shape.conv.map_width()),
                         keeps ? images.sizes : Sizes(images.sizes.size())};
    inputs->push_back(RowCount(context, images));
    SetOutputs(context, Call(context, "fslcore_conv_block", attributes_, *inputs,
                             {outputs, maps, Like(beta), Like(beta)}));
  }
};

class ConvBlockGradXla : public ConvOp {
 public:
  explicit ConvBlockGradXla(OpKernelConstruction* context) : ConvOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("with_images", &with_images_));
    attributes_.push_back(Attribute("with_images", int64_t{with_images_}));
  }
  void Compile(XlaOpKernelContext* context) override {
    auto inputs = ConvInputs(context);
    if (!inputs) return;
    const auto sizes = [&](size_t i) { return ShapeOf((*inputs)[i]); };
    OP_REQUIRES_OK(context,
                   CheckSentence(fslcore::CheckConvBlockGrad(sizes(0), sizes(1), sizes(2), sizes(3), sizes(4),
                                                             sizes(5), sizes(6), sizes(7), options_)));
    const Input images = (*inputs)[1];
    Output of_images = Like(images);
    if (!with_images_) {
      of_images.shape.set_dimensions(0, 0);
      of_images.sizes[0].reset();
    }
    const std::vector<Output> outputs = {of_images, Like((*inputs)[2]), Like((*inputs)[3]),
                                         Like((*inputs)[4])};
    inputs->push_back(RowCount(context, images));
    SetOutputs(context, Call(context, "fslcore_conv_block_grad", attributes_, *inputs, outputs));
  }

 private:
  bool with_images_;
};

REGISTER_KERNEL_BUILDER(Name("FslcoreConvBlock").Device("XLA_CPU_JIT"), ConvBlockXla);
REGISTER_KERNEL_BUILDER(Name("FslcoreConvBlockGrad").Device("XLA_CPU_JIT"), ConvBlockGradXla);

[[maybe_unused]] const bool kRegistered =
    RegisterHandler("fslcore_conv_block", "Host", fslcore_conv_block_cpu) &&
    RegisterHandler("fslcore_conv_block_grad", "Host", fslcore_conv_block_grad_cpu);

}  // namespace
}  // namespace tensorflow::fslcore_bindings
