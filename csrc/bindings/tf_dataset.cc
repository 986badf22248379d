// SPDX-License-Identifier: MIT
// Episodes as a source of tf.data: an op whose iterator draws and gathers them without any graph. Its public
// face is fslcore/data.
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/op.h"
#include "bindings/tf_elements.h"
#include "core/threads/ahead.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/dataset.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/graph/graph.h"

namespace tensorflow::fslcore_bindings {
namespace {

constexpr char kOp[] = "FslcoreEpisodeDataset";
constexpr char kPosition[] = "position";  // in checkpoints
constexpr int64_t kLeastAhead = 4, kMostAhead = 16, kBytesAhead = int64_t{4} << 20;

REGISTER_OP(kOp)
    .Input("store: T")
    .Input("rows: int64")
    .Input("labels: int64")
    .Input("seed: int64")
    .Input("other_seed: int64")
    .Input("first: int64")
    .Input("step: int64")
    .Input("count: int64")
    .Attr("T: {uint8, float}")
    .Attr("form: {'episodes', 'batch', 'minibatches'}")
    .Attr("least_way: int")
    .Attr("n_way: int")
    .Attr("least_shot: int")
    .Attr("parts: list(int)")
    .Attr("tasks: int")
    .Attr("steps: int")
    .Attr("batch: int")
    .Attr("rotations: bool")
    .Attr("gathers: bool")
    .Attr("output_types: list(type) >= 1")
    .Attr("output_shapes: list(shape) >= 1")
    .Output("handle: variant")
    .SetDoNotOptimize()
    .SetShapeFn(shape_inference::ScalarShape);

// Writes the attributes into a graph.
struct Write {
  std::vector<std::pair<StringPiece, AttrValue>> values;

  template <class T>
  void operator()(fslcore::bindings::Key key, const T& value) {
    AttrValue written;
    if constexpr (std::is_enum_v<T>)
      SetAttrValue(fslcore::bindings::NameOf(value), &written);
    else
      SetAttrValue(value, &written);
    values.emplace_back(key.name, written);
  }
};

// An element as a thread has made it.
struct Made {
  absl::Status status;
  std::vector<Tensor> element;
};

class EpisodeDataset : public data::DatasetBase {
 public:
  EpisodeDataset(OpKernelContext* context, std::shared_ptr<const ElementMaker> maker)
      : DatasetBase(data::DatasetContext(context)), maker_(std::move(maker)) {}

  const DataTypeVector& output_dtypes() const override { return maker_->attributes().output_types; }
  const std::vector<PartialTensorShape>& output_shapes() const override {
    return maker_->attributes().output_shapes;
  }
  std::string DebugString() const override { return "FslcoreEpisodeDatasetOp::Dataset"; }
  int64_t CardinalityInternal(data::CardinalityOptions) const override {
    const int64_t count = maker_->Number(kCount);
    return count < 0 ? data::kInfiniteCardinality : count;
  }
  absl::Status InputDatasets(std::vector<const DatasetBase*>* inputs) const override {
    inputs->clear();
    return absl::OkStatus();
  }
  absl::Status CheckExternalState() const override { return absl::OkStatus(); }

 protected:
  std::unique_ptr<data::IteratorBase> MakeIteratorInternal(const std::string& prefix) const override {
    return std::make_unique<Iterator>(Iterator::Params{this, prefix + "::FslcoreEpisode"});
  }

  // A rewriting of the graph is handed the tensors beside it: images are never written into a graph for that.
  absl::Status AsGraphDefInternal(data::SerializationContext* context, DatasetGraphDefBuilder* builder,
                                  Node** output) const override {
    std::vector<std::pair<size_t, Node*>> nodes;
    for (const Tensor& input : maker_->inputs()) {
      Node* node = nullptr;
      if (context->is_graph_rewrite()) {
        TF_RETURN_IF_ERROR(builder->AddPlaceholder(input, &node));
        context->input_list()->emplace_back(node->name(), input);
      } else {
        TF_RETURN_IF_ERROR(builder->AddTensor(input, &node));
      }
      nodes.emplace_back(nodes.size(), node);
    }
    Write write;
    ElementAttributes attributes = maker_->attributes();
    attributes.Visit(write);
    SetAttrValue(attributes.type, &write.values.emplace_back("T", AttrValue()).second);
    return builder->AddDataset(this, nodes, {}, write.values, output);
  }

 private:
  class Iterator : public data::DatasetIterator<EpisodeDataset> {
   public:
    using DatasetIterator::DatasetIterator;
    ~Iterator() override {
      if (ahead_ != nullptr) ahead_->Close();
    }

    bool SymbolicCheckpointCompatible() const override { return true; }

    absl::Status Initialize(data::IteratorContext* context) override {
      StartAt(context, 0);
      return absl::OkStatus();
    }

    absl::Status GetNextInternal(data::IteratorContext* context, std::vector<Tensor>* element,
                                 bool* end_of_sequence) override {
      std::optional<Made> made = ahead_->Take(*context->runner());
      *end_of_sequence = !made.has_value();
      if (!made.has_value()) return absl::OkStatus();
      *element = std::move(made->element);
      return made->status;
    }

    absl::Status SkipInternal(data::IteratorContext*, int count, bool* end_of_sequence,
                              int* skipped) override {
      *skipped = static_cast<int>(ahead_->Skip(count));
      *end_of_sequence = *skipped < count;
      return absl::OkStatus();
    }

   protected:
    absl::Status SaveInternal(data::SerializationContext*, data::IteratorStateWriter* writer) override {
      return writer->WriteScalar(prefix(), kPosition, ahead_->position());
    }
    absl::Status RestoreInternal(data::IteratorContext* context, data::IteratorStateReader* reader) override {
      int64_t position = 0;
      TF_RETURN_IF_ERROR(reader->ReadScalar(prefix(), kPosition, &position));
      StartAt(context, position);
      return absl::OkStatus();
    }

   private:
    void StartAt(data::IteratorContext* context, int64_t position) {
      if (ahead_ != nullptr) ahead_->Close();
      const std::shared_ptr<const ElementMaker> maker = dataset()->maker_;
      const int64_t count = maker->Number(kCount);
      const int64_t bytes = std::max<int64_t>(1, maker->ElementBytes());
      const auto make = [maker, allocator = context->allocator({})](int64_t index) {
        Made made;
        made.status = fslcore::bindings::Caught([&] { return maker->Make(allocator, index, &made.element); },
                                                [](bool exhausted, const std::string& problem) {
                                                  return exhausted ? absl::ResourceExhaustedError(problem)
                                                                   : absl::InternalError(problem);
                                                });
        return made;
      };
      ahead_ = std::make_shared<fslcore::Ahead<Made>>(
          make, position, count < 0 ? std::numeric_limits<int64_t>::max() : count,
          std::clamp(kBytesAhead / bytes, kLeastAhead, kMostAhead),
          std::max(1, context->runner_threadpool_size()));
    }

    std::shared_ptr<fslcore::Ahead<Made>> ahead_;
  };

  const std::shared_ptr<const ElementMaker> maker_;
};

class EpisodeDatasetOp : public data::DatasetOpKernel {
 public:
  explicit EpisodeDatasetOp(OpKernelConstruction* context) : DatasetOpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("T", &attributes_.type));
    OP_REQUIRES_OK(context, ReadAttributes(context, &attributes_));
  }

 protected:
  void MakeDataset(OpKernelContext* context, data::DatasetBase** output) override {
    OP_REQUIRES_OK(context, fslcore::bindings::Caught([&] { return Made(context, output); },
                                                      [](bool, const std::string& problem) -> absl::Status {
                                                        return absl::ResourceExhaustedError(problem);
                                                      }));
  }

 private:
  absl::Status Made(OpKernelContext* context, data::DatasetBase** output) {
    std::vector<Tensor> inputs;
    for (int i = 0; i < kInputs; ++i) inputs.push_back(context->input(i));
    for (int i = kSeed; i < kInputs; ++i)
      if (inputs[static_cast<size_t>(i)].dims() != 0)
        return absl::InvalidArgumentError("seeds, first, step and count must be single numbers");
    const Tensor& labels = inputs[kLabels];
    if (labels.dims() != 1 || labels.NumElements() > fslcore::kMostPositions)
      return absl::InvalidArgumentError(
          absl::StrCat("labels must have one axis of fewer than 2^31 numbers, received shape ",
                       labels.shape().DebugString()));
    auto maker = std::make_shared<ElementMaker>(attributes_, std::move(inputs));
    TF_RETURN_IF_ERROR(Invalid(maker->Check()));
    *output = new EpisodeDataset(context, std::move(maker));
    return absl::OkStatus();
  }

  ElementAttributes attributes_;
};

REGISTER_KERNEL_BUILDER(Name(kOp).Device(DEVICE_CPU), EpisodeDatasetOp);

}  // namespace
}  // namespace tensorflow::fslcore_bindings
