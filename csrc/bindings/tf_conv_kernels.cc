// SPDX-License-Identifier: MIT
// CPU kernels of the convolution ops: check, call the core on the intra-op threads.
#include "bindings/tf_arguments.h"
#include "core/conv_block.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tensorflow::fslcore_bindings {
namespace {

const float* DataOf(const Tensor& t) { return t.flat<float>().data(); }
float* DataOf(Tensor* t) { return t->flat<float>().data(); }

fslcore::ConvShape ConvShapeOf(const Tensor& images, int64_t filters, int64_t stride) {
  return {images.dim_size(0), images.dim_size(1), images.dim_size(2), images.dim_size(3), filters, stride};
}

class ConvBlockOp : public OpKernel {
 public:
  explicit ConvBlockOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("strides", &strides_));
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &epsilon_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor &images = context->input(0), &kernel = context->input(1), &gamma = context->input(2),
                 &beta = context->input(3);
    OP_REQUIRES_OK(context,
                   CheckSentence(fslcore::CheckConvBlock(ShapeOf(images), ShapeOf(kernel), ShapeOf(gamma),
                                                         ShapeOf(beta), strides_, epsilon_)));
    const fslcore::ConvShape shape = ConvShapeOf(images, kernel.dim_size(3), strides_);
    const TensorShape maps({shape.count, shape.out_height(), shape.out_width(), shape.filters});
    Tensor *outputs, *convolved, *mean, *variance;
    OP_REQUIRES_OK(context, context->allocate_output(0, maps, &outputs));
    OP_REQUIRES_OK(context, context->allocate_output(1, maps, &convolved));
    OP_REQUIRES_OK(context, context->allocate_output(2, gamma.shape(), &mean));
    OP_REQUIRES_OK(context, context->allocate_output(3, gamma.shape(), &variance));
    fslcore::ConvBlock(ExecutorOf(context), shape, DataOf(images), DataOf(kernel),
                       {DataOf(gamma), DataOf(beta), epsilon_},
                       {DataOf(outputs), DataOf(convolved), DataOf(mean), DataOf(variance)});
  }

 private:
  int64_t strides_;
  float epsilon_;
};

class ConvBlockNormGradOp : public OpKernel {
 public:
  explicit ConvBlockNormGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &epsilon_));
  }
  void Compute(OpKernelContext* context) override {
    const auto sizes = [&](int i) { return ShapeOf(context->input(i)); };
    const auto data = [&](int i) { return DataOf(context->input(i)); };
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckConvBlockNormGrad(
                                sizes(0), sizes(1), sizes(2), sizes(3), sizes(4), sizes(5), epsilon_)));
    const Tensor& convolved = context->input(1);
    Tensor *dconvolved, *dgamma, *dbeta;
    OP_REQUIRES_OK(context,
                   context->forward_input_or_allocate_output({0}, 0, convolved.shape(), &dconvolved));
    OP_REQUIRES_OK(context, context->allocate_output(1, context->input(4).shape(), &dgamma));
    OP_REQUIRES_OK(context, context->allocate_output(2, context->input(5).shape(), &dbeta));
    const int64_t filters = convolved.dim_size(3);
    fslcore::ConvBlockNormGrad(ExecutorOf(context), filters > 0 ? convolved.NumElements() / filters : 0,
                               filters, data(0), data(1), data(2), data(3), {data(4), data(5), epsilon_},
                               {DataOf(dconvolved), DataOf(dgamma), DataOf(dbeta)});
  }

 private:
  float epsilon_;
};

class ConvInputGradOp : public OpKernel {
 public:
  explicit ConvInputGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("strides", &strides_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor &images = context->input(0), &kernel = context->input(1), &grad = context->input(2);
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckConvInputGrad(ShapeOf(images), ShapeOf(kernel),
                                                                      ShapeOf(grad), strides_)));
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, images.shape(), &out));
    fslcore::ConvInputGrad(ExecutorOf(context), ConvShapeOf(images, kernel.dim_size(3), strides_),
                           DataOf(kernel), DataOf(grad), DataOf(out));
  }

 private:
  int64_t strides_;
};

class ConvKernelGradOp : public OpKernel {
 public:
  explicit ConvKernelGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("strides", &strides_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor &images = context->input(0), &grad = context->input(1);
    OP_REQUIRES_OK(context,
                   CheckSentence(fslcore::CheckConvKernelGrad(ShapeOf(images), ShapeOf(grad), strides_)));
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, TensorShape({3, 3, images.dim_size(3), grad.dim_size(3)}), &out));
    fslcore::ConvKernelGrad(ExecutorOf(context), ConvShapeOf(images, grad.dim_size(3), strides_),
                            DataOf(images), DataOf(grad), DataOf(out));
  }

 private:
  int64_t strides_;
};

REGISTER_KERNEL_BUILDER(Name("FslcoreConvBlock").Device(DEVICE_CPU), ConvBlockOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreConvBlockNormGrad").Device(DEVICE_CPU), ConvBlockNormGradOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreConvInputGrad").Device(DEVICE_CPU), ConvInputGradOp);
REGISTER_KERNEL_BUILDER(Name("FslcoreConvKernelGrad").Device(DEVICE_CPU), ConvKernelGradOp);

}  // namespace
}  // namespace tensorflow::fslcore_bindings
