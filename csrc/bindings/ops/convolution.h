// SPDX-License-Identifier: MIT
// The block of convolution, normalisation, ReLU and pooling, and the convolution alone, forward and backward.
// On CPUs only.
#pragma once
#include <algorithm>

#include "bindings/op.h"
#include "core/convolution/conv_block.h"
#include "core/convolution/same_convolution.h"

namespace fslcore::bindings {

struct ConvBlockAttributes {
  ConvBlockOptions options = {1, 1, 0.0f, Precision::kFloat32};

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit(AtLeast(1, "strides"), options.stride);
    visit(AtLeast(1, "pool_size"), options.pool);
    visit("epsilon", options.epsilon);
    visit(Optional("precision"), options.precision, kConvPrecisions);
  }
};

struct ConvBlockGradAttributes : ConvBlockAttributes {
  bool with_images;

  template <class Visitor>
  void Visit(Visitor& visit) {
    ConvBlockAttributes::Visit(visit);
    visit("with_images", with_images);
  }
};

// What forward and backward share. Images, kernel, gamma and beta are the inputs from `kFirst` on. XLA may
// pad the batch: the padding must not count for the mean.
template <size_t kFirst>
struct ConvOp : Op {
  static constexpr int kRows = kFirst;

  static const char* RefuseDynamic(size_t axis) {
    return axis == 0 ? nullptr : "inside XLA only the batch of a convolution may have a dynamic size";
  }

 protected:
  static ConvBlockShape RealShape(const ConvBlockOptions& options, const CpuCall& call) {
    ConvBlockShape shape =
        ConvBlockShapeOf(call.input_shapes[kFirst], call.input_shapes[kFirst + 1], options);
    shape.conv.count = call.rows;
    return shape;
  }
  static ConvBlockInputs InputsOf(const ConvBlockOptions& options, const CpuCall& call) {
    return {call.in<float>(kFirst), call.in<float>(kFirst + 1), call.in<float>(kFirst + 2),
            call.in<float>(kFirst + 3), options.epsilon};
  }

  // Null if the output is empty; zeros for the padding.
  static float* Batch(const CpuCall& call, size_t output) {
    if (call.output_is_empty(output)) return nullptr;
    const Sizes& sizes = call.output_shapes[output];
    const int64_t elements = ElementsOf(sizes), real = elements / sizes[0] * call.rows;
    std::fill(call.out<float>(output) + real, call.out<float>(output) + elements, 0.0f);
    return call.out<float>(output);
  }
};

struct ConvBlock : ConvOp<0> {
  using Attributes = ConvBlockAttributes;
  static constexpr Argument kInputs[] = {{"images", Type::kFloat32, 4},
                                         {"kernel", Type::kFloat32, 4},
                                         {"gamma", Type::kFloat32, 1},
                                         {"beta", Type::kFloat32, 1}};
  static constexpr Argument kOutputs[] = {{"outputs", Type::kFloat32, 4},
                                          {"maps", Type::kFloat32, 4},  // of no image if they are not kept
                                          {"mean", Type::kFloat32, 1},
                                          {"variance", Type::kFloat32, 1}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckConvBlock(in[0], in[1], in[2], in[3], a.options);
  }
  static Shapes OutputShapes(const Attributes& a, const Shapes& in) {
    const Sizes& images = in[0];
    const int64_t filters = in[1][3];
    const auto divide = [](int64_t size, int64_t by) { return size < 0 ? kUnknown : size / by; };
    const auto maps = [&](int64_t size) {
      return divide(size < 0 ? size : size + a.options.stride - 1, a.options.stride);
    };
    const int64_t height = maps(images[1]), width = maps(images[2]);
    const bool known = *std::min_element(images.begin(), images.end()) >= 0 && filters >= 0;
    const int64_t kept = !known                                                       ? kUnknown
                         : KeepsMaps(ConvBlockShapeOf(images, in[1], a.options).conv) ? images[0]
                                                                                      : 0;
    return {{images[0], divide(height, a.options.pool), divide(width, a.options.pool), filters},
            {kept, height, width, filters},
            {filters},
            {filters}};
  }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    fslcore::ConvBlock(call.executor, RealShape(a.options, call), InputsOf(a.options, call),
                       {Batch(call, 0), Batch(call, 1), call.out<float>(2), call.out<float>(3)});
    return "";
  }
};

struct ConvBlockGrad : ConvOp<1> {
  using Attributes = ConvBlockGradAttributes;
  static constexpr Argument kInputs[] = {{"grad", Type::kFloat32, 4},   {"images", Type::kFloat32, 4},
                                         {"kernel", Type::kFloat32, 4}, {"gamma", Type::kFloat32, 1},
                                         {"beta", Type::kFloat32, 1},   {"maps", Type::kFloat32, 4},
                                         {"mean", Type::kFloat32, 1},   {"variance", Type::kFloat32, 1}};
  static constexpr Argument kOutputs[] = {{"images_grad", Type::kFloat32, 4},  // of no image if not asked for
                                          {"kernel_grad", Type::kFloat32, 4},
                                          {"gamma_grad", Type::kFloat32, 1},
                                          {"beta_grad", Type::kFloat32, 1}};

  static std::string Check(const Attributes& a, const Shapes& in) {
    return CheckConvBlockGrad(in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7], a.options);
  }
  static Shapes OutputShapes(const Attributes& a, const Shapes& in) {
    Sizes images = in[1];
    if (!a.with_images) images[0] = 0;
    return {images, {3, 3, in[1][3], in[0][3]}, in[3], in[4]};
  }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    const float* maps = call.input_is_empty(5) ? nullptr : call.in<float>(5);
    fslcore::ConvBlockGrad(
        call.executor, RealShape(a.options, call), InputsOf(a.options, call),
        {maps, call.in<float>(6), call.in<float>(7)}, call.in<float>(0),
        {a.with_images ? Images(call) : nullptr, call.out<float>(1), call.out<float>(2), call.out<float>(3)});
    return "";
  }

 private:
  static float* Images(const CpuCall& call) {
    Batch(call, 0);
    return call.out<float>(0);
  }
};

struct NoAttributes {
  template <class Visitor>
  void Visit(Visitor&) {}
};

struct SameConvolution : ConvOp<0> {
  using Attributes = NoAttributes;
  static constexpr Argument kInputs[] = {{"images", Type::kFloat32, 4}, {"kernel", Type::kFloat32, 4}};
  static constexpr Argument kOutputs[] = {{"maps", Type::kFloat32, 4}};

  static std::string Check(const Attributes&, const Shapes& in) { return CheckSameConvolution(in[0], in[1]); }
  static Shapes OutputShapes(const Attributes&, const Shapes& in) {
    return {{in[0][0], in[0][1], in[0][2], in[1][3]}};
  }

  static std::string Run(const Attributes&, const CpuCall& call) {
    SameConvolutionShape shape = SameConvolutionShapeOf(call.input_shapes[0], call.input_shapes[1]);
    shape.count = call.rows;
    if (float* maps = Batch(call, 0))
      fslcore::SameConvolution(call.executor, shape, call.in<float>(0), call.in<float>(1), maps);
    return "";
  }
};

struct SameConvolutionGradAttributes {
  bool with_images, with_kernel;

  template <class Visitor>
  void Visit(Visitor& visit) {
    visit("with_images", with_images);
    visit("with_kernel", with_kernel);
  }
};

struct SameConvolutionGrad : ConvOp<1> {
  using Attributes = SameConvolutionGradAttributes;
  static constexpr Argument kInputs[] = {
      {"grad", Type::kFloat32, 4}, {"images", Type::kFloat32, 4}, {"kernel", Type::kFloat32, 4}};
  // Of no image, or of a kernel of no size, if not asked for.
  static constexpr Argument kOutputs[] = {{"images_grad", Type::kFloat32, 4},
                                          {"kernel_grad", Type::kFloat32, 4}};

  static std::string Check(const Attributes&, const Shapes& in) {
    return CheckSameConvolutionGrad(in[0], in[1], in[2]);
  }
  static Shapes OutputShapes(const Attributes& a, const Shapes& in) {
    Sizes images = in[1], kernel = in[2];
    if (!a.with_images) images[0] = 0;
    if (!a.with_kernel) kernel[0] = 0;
    return {images, kernel};
  }

  static std::string Run(const Attributes& a, const CpuCall& call) {
    SameConvolutionShape shape = SameConvolutionShapeOf(call.input_shapes[1], call.input_shapes[2]);
    shape.count = call.rows;
    float* kernel_grad = call.output_is_empty(1) ? nullptr : call.out<float>(1);
    fslcore::SameConvolutionGrad(call.executor, shape, call.in<float>(0), call.in<float>(1),
                                 call.in<float>(2), a.with_images ? Batch(call, 0) : nullptr, kernel_grad);
    return "";
  }
};

}  // namespace fslcore::bindings
