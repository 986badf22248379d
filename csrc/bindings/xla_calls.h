// SPDX-License-Identifier: MIT
// What the XLA kernels share: their inputs made static, the typed custom call, and its handler's
// registration. In a namespace of its own: tensorflow::Input and Output are other classes.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "xla/ffi/api/c_api.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape.h"

namespace tensorflow::fslcore_bindings {

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

inline Output Like(const Input& input) { return {input.shape, input.sizes}; }

std::vector<int64_t> ShapeOf(const Input& input);

// An attribute of the custom call, as MLIR writes it; floats by their bits, so that none is rounded.
std::string Attribute(const char* name, int64_t value);
std::string Attribute(const char* name, const std::string& value);
std::string Attribute(const char* name, float value);

// Calls the handler `target`; one result per output, in order.
std::vector<xla::XlaOp> Call(XlaOpKernelContext* context, const std::string& target,
                             const std::vector<std::string>& attributes, const std::vector<Input>& inputs,
                             const std::vector<Output>& outputs);

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
  static std::optional<std::vector<Input>> Inputs(XlaOpKernelContext* context);

  std::vector<std::string> attributes_;
};

// XLA drops a call whose result has no elements, and the handler's checks with it: what the shapes can tell
// is checked while compiling.
absl::Status CheckSentence(const std::string& problem);
absl::Status CheckRank(const char* name, const Input& input, size_t rank);

// The number of real rows of x, as an operand: the padding of a dynamic batch is none.
Input RowCount(XlaOpKernelContext* context, const Input& x);

// Registers a handler with TensorFlow's own XLA for "Host" or "CUDA"; whether that went well, which it says
// in the log if not.
bool RegisterHandler(const char* name, const char* platform, XLA_FFI_Handler* handler);

}  // namespace tensorflow::fslcore_bindings
