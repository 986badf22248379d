// SPDX-License-Identifier: MIT
// The CPU kernel of the op that fits classifiers: check, call the core on the intra-op threads.
#include <string>
#include <vector>

#include "bindings/tf_arguments.h"
#include "core/fitting/fit_classifiers.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tensorflow::fslcore_bindings {
namespace {

class FitClassifiersOp : public OpKernel {
 public:
  explicit FitClassifiersOp(OpKernelConstruction* context) : OpKernel(context) {
    std::vector<int64_t> strides, pool_sizes;
    std::vector<float> epsilons;
    std::vector<std::string> precisions;
    fslcore::AdamSettings adam;
    bool uses_adam;
    OP_REQUIRES_OK(context, context->GetAttr("strides", &strides));
    OP_REQUIRES_OK(context, context->GetAttr("pool_sizes", &pool_sizes));
    OP_REQUIRES_OK(context, context->GetAttr("epsilons", &epsilons));
    OP_REQUIRES_OK(context, context->GetAttr("precisions", &precisions));
    OP_REQUIRES_OK(context, context->GetAttr("momenta", &options_.momenta));
    OP_REQUIRES_OK(context, context->GetAttr("learning_rate", &adam.learning_rate));
    OP_REQUIRES_OK(context, context->GetAttr("adam", &uses_adam));
    OP_REQUIRES_OK(context, context->GetAttr("beta_2", &adam.beta_2));
    OP_REQUIRES_OK(context, context->GetAttr("one_minus_beta_2", &adam.one_minus_beta_2));
    OP_REQUIRES_OK(context, context->GetAttr("adam_epsilon", &adam.epsilon));
    OP_REQUIRES(
        context,
        pool_sizes.size() == strides.size() && epsilons.size() == strides.size() &&
            precisions.size() == strides.size(),
        absl::InvalidArgumentError("strides, pool_sizes, epsilons and precisions must be equally many"));
    for (size_t b = 0; b < strides.size(); ++b)
      options_.blocks.push_back(
          {strides[b], pool_sizes[b], epsilons[b], fslcore::ParsePrecision(precisions[b]).value()});
    options_.learning_rate = adam.learning_rate;
    if (uses_adam) options_.adam = adam;
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &images = context->input(0), &labels = context->input(1), &order = context->input(2);
    OpInputList weights, averages, memory;
    OP_REQUIRES_OK(context, context->input_list("weights", &weights));
    OP_REQUIRES_OK(context, context->input_list("averages", &averages));
    OP_REQUIRES_OK(context, context->input_list("memory", &memory));
    fslcore::FitStart start = {SizesOf(weights), DataOf(weights), DataOf(averages), DataOf(memory), 1.0f};
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckFitClassifiers(
                                options_, ShapeOf(images), ShapeOf(labels), ShapeOf(order),
                                start.weight_sizes, SizesOf(averages), SizesOf(memory))));
    if (options_.adam) {
      start.power = *start.squares.back();
      start.squares.pop_back();
    }
    const int64_t classes = start.weight_sizes.back()[0];
    const fslcore::FitTasks tasks = {ShapeOf(images), ShapeOf(order), images.flat<float>().data(),
                                     labels.flat<int32_t>().data(), order.flat<int32_t>().data()};
    OP_REQUIRES_OK(context, CheckSentence(fslcore::CheckFitIndices(tasks, classes)));

    const int64_t count = tasks.image_sizes[0];
    fslcore::FitResults results;
    OP_REQUIRES_OK(context, Allocate(context, "new_weights", weights, count, &results.weights));
    OP_REQUIRES_OK(context, Allocate(context, "new_averages", averages, count, &results.averages));
    OP_REQUIRES_OK(context, Allocate(context, "new_memory", memory, count, &results.squares));
    results.powers = nullptr;
    if (options_.adam) {
      results.powers = results.squares.back();
      results.squares.pop_back();
    }
    Tensor *losses, *logits;
    OP_REQUIRES_OK(context, context->allocate_output("losses", {count, tasks.order_sizes[1]}, &losses));
    OP_REQUIRES_OK(context,
                   context->allocate_output("logits", {count, tasks.order_sizes[2], classes}, &logits));
    results.losses = losses->flat<float>().data();
    results.logits = logits->flat<float>().data();
    fslcore::FitClassifiers(ExecutorOf(context), options_, tasks, start, results);
  }

 private:
  static std::vector<fslcore::Sizes> SizesOf(const OpInputList& tensors) {
    std::vector<fslcore::Sizes> sizes;
    for (const Tensor& tensor : tensors) sizes.push_back(ShapeOf(tensor));
    return sizes;
  }

  static std::vector<const float*> DataOf(const OpInputList& tensors) {
    std::vector<const float*> data;
    for (const Tensor& tensor : tensors) data.push_back(tensor.flat<float>().data());
    return data;
  }

  // An output for each of the tensors, with an axis of `count` before its own.
  static absl::Status Allocate(OpKernelContext* context, const char* name, const OpInputList& tensors,
                               int64_t count, std::vector<float*>* data) {
    OpOutputList outputs;
    TF_RETURN_IF_ERROR(context->output_list(name, &outputs));
    for (int i = 0; i < tensors.size(); ++i) {
      TensorShape shape = tensors[i].shape();
      shape.InsertDim(0, count);
      Tensor* output;
      TF_RETURN_IF_ERROR(outputs.allocate(i, shape, &output));
      data->push_back(output->flat<float>().data());
    }
    return absl::OkStatus();
  }

  fslcore::FitOptions options_;
};

REGISTER_KERNEL_BUILDER(Name("FslcoreFitClassifiers").Device(DEVICE_CPU), FitClassifiersOp);

}  // namespace
}  // namespace tensorflow::fslcore_bindings
