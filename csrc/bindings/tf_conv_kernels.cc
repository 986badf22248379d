// SPDX-License-Identifier: MIT
// CPU kernels of the convolution ops: check, call the core on the intra-op threads.
#include "bindings/tf_arguments.h"
#include "core/convolution/conv_block.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tensorflow::fslcore_bindings {
namespace {

const float* DataOf(const Tensor& t) { return t.flat<float>().data(); }
float* DataOf(Tensor* t) { return t->flat<float>().data(); }

// What the ops share: their options, and what four of their inputs are.
class ConvBlockBase : public OpKernel {
 public:
  explicit ConvBlockBase(OpKernelConstruction* context) : OpKernel(context) {
    std::string precision;
    OP_REQUIRES_OK(context, context->GetAttr("strides", &options_.stride));
    OP_REQUIRES_OK(context, context->GetAttr("pool_size", &options_.pool));
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &options_.epsilon));
    OP_REQUIRES_OK(context, context->GetAttr("precision", &precision));
    options_.precision = fslcore::ParsePrecision(precision).value();
  }

 protected:
  // Images, kernel, gamma and beta from input `first` on.
  fslcore::ConvBlockInputs InputsFrom(OpKernelContext* context, int first) const {
    const auto data = [&](int i) { return DataOf(context->input(first + i)); };
    return {data(0), data(1), data(2), data(3), options_.epsilon};
  }

  fslcore::ConvBlockOptions options_;
};

class ConvBlockOp : public ConvBlockBase {
 public:
  using ConvBlockBase::ConvBlockBase;
  void Compute(OpKernelContext* context) override {
    const auto sizes = [&](int i) { return ShapeOf(context->input(i)); };
    OP_REQUIRES_OK(context,
                   CheckSentence(fslcore::CheckConvBlock(sizes(0), sizes(1), sizes(2), sizes(3), options_)));
    const auto shape = fslcore::ConvBlockShapeOf(sizes(0), sizes(1), options_);
    const auto& conv = shape.conv;
    const int64_t kept = fslcore::KeepsMaps(conv) ? conv.count : 0;
    const TensorShape of_outputs({conv.count, shape.out_height(), shape.out_width(), conv.filters}),
        of_maps({kept, conv.map_height(), conv.map_width(), conv.filters}), row({conv.filters});
    Tensor *outputs, *maps, *mean, *variance;
    OP_REQUIRES_OK(context, context->allocate_output(0, of_outputs, &outputs));
    OP_REQUIRES_OK(context, context->allocate_output(1, of_maps, &maps));
    OP_REQUIRES_OK(context, context->allocate_output(2, row, &mean));
    OP_REQUIRES_OK(context, context->allocate_output(3, row, &variance));
    fslcore::ConvBlock(ExecutorOf(context), shape, InputsFrom(context, 0),
                       {DataOf(outputs), kept ? DataOf(maps) : nullptr, DataOf(mean), DataOf(variance)});
  }
};

class ConvBlockGradOp : public ConvBlockBase {
 public:
  explicit ConvBlockGradOp(OpKernelConstruction* context) : ConvBlockBase(context) {
    OP_REQUIRES_OK(context, context->GetAttr("with_images", &with_images_));
  }
  void Compute(OpKernelContext* context) override {
    const auto sizes = [&](int i) { return ShapeOf(context->input(i)); };
    const auto data = [&](int i) { return DataOf(context->input(i)); };
    OP_REQUIRES_OK(context,
                   CheckSentence(fslcore::CheckConvBlockGrad(sizes(0), sizes(1), sizes(2), sizes(3), sizes(4),
                                                             sizes(5), sizes(6), sizes(7), options_)));
    TensorShape of_images = context->input(1).shape();
    if (!with_images_) of_images.set_dim(0, 0);
    Tensor *images, *kernel, *gamma, *beta;
    OP_REQUIRES_OK(context, context->allocate_output(0, of_images, &images));
    OP_REQUIRES_OK(context, context->allocate_output(1, context->input(2).shape(), &kernel));
    OP_REQUIRES_OK(context, context->allocate_output(2, context->input(3).shape(), &gamma));
    OP_REQUIRES_OK(context, context->allocate_output(3, context->input(4).shape(), &beta));
    fslcore::ConvBlockGrad(
        ExecutorOf(context), fslcore::ConvBlockShapeOf(sizes(1), sizes(2), options_), InputsFrom(context, 1),
        {context->input(5).NumElements() ? data(5) : nullptr, data(6), data(7)}, data(0),
        {with_images_ ? DataOf(images) : nullptr, DataOf(kernel), DataOf(gamma), DataOf(beta)});
  }

 private:
  bool with_images_;
};

REGISTER_KERNEL_BUILDER(Name("FslcoreConvBlock").Device(DEVICE_CPU), ConvBlockOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreConvBlockGrad").Device(DEVICE_CPU), ConvBlockGradOp);

}  // namespace
}  // namespace tensorflow::fslcore_bindings
