// SPDX-License-Identifier: MIT
// The TensorFlow ops: names, attributes and shape functions. Their public face, with gradients and
// documentation, is fslcore/ops.
#include "core/convolution/conv_block.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tensorflow {
namespace {

using shape_inference::DimensionHandle;
using shape_inference::InferenceContext;
using shape_inference::ShapeHandle;

absl::Status PairwiseShape(InferenceContext* c) {
  ShapeHandle x, y;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &x));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &y));
  c->set_output(0, c->Matrix(c->Dim(x, 0), c->Dim(y, 0)));
  return absl::OkStatus();
}

absl::Status PairwiseGradShape(InferenceContext* c) {
  for (int i = 0; i < 4; ++i) c->set_output(i, c->input(i));
  return absl::OkStatus();
}

absl::Status TripletShape(InferenceContext* c) {
  c->set_output(0, c->Scalar());
  c->set_output(1, c->input(0));
  c->set_output(2, c->Scalar());
  return absl::OkStatus();
}

absl::Status MineShape(InferenceContext* c) {
  for (int i = 0; i < 3; ++i) c->set_output(i, c->Vector(c->UnknownDim()));
  return absl::OkStatus();
}

absl::Status EpisodesShape(InferenceContext* c) {
  int64_t n_way, k_shot, n_query, episodes;
  TF_RETURN_IF_ERROR(c->GetAttr("n_way", &n_way));
  TF_RETURN_IF_ERROR(c->GetAttr("k_shot", &k_shot));
  TF_RETURN_IF_ERROR(c->GetAttr("n_query", &n_query));
  TF_RETURN_IF_ERROR(c->GetAttr("episodes", &episodes));
  c->set_output(0, c->MakeShape({c->MakeDim(episodes), c->MakeDim(n_way), c->MakeDim(k_shot + n_query)}));
  return absl::OkStatus();
}

absl::Status GatherShape(InferenceContext* c) {
  ShapeHandle store, image, out;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &store));
  TF_RETURN_IF_ERROR(c->Subshape(store, 1, &image));
  int64_t height, width;
  TF_RETURN_IF_ERROR(c->GetAttr("height", &height));
  TF_RETURN_IF_ERROR(c->GetAttr("width", &width));
  if (height > 0) image = c->MakeShape({c->MakeDim(height), c->MakeDim(width), c->Dim(store, 3)});
  TF_RETURN_IF_ERROR(c->Concatenate(c->input(1), image, &out));
  c->set_output(0, out);
  return absl::OkStatus();
}

// [batch, out_height, out_width, filters] of images [batch, height, width, channels] and a 3x3 kernel.
absl::Status ConvBlockShape(InferenceContext* c) {
  ShapeHandle images, kernel, maps, outputs;
  int64_t strides, pool_size;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &images));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &kernel));
  TF_RETURN_IF_ERROR(c->GetAttr("strides", &strides));
  TF_RETURN_IF_ERROR(c->GetAttr("pool_size", &pool_size));
  TF_RETURN_IF_ERROR(c->ReplaceDim(images, 3, c->Dim(kernel, 3), &maps));
  outputs = maps;
  for (int axis = 1; axis < 3; ++axis) {
    DimensionHandle size;
    TF_RETURN_IF_ERROR(c->Add(c->Dim(images, axis), strides - 1, &size));
    TF_RETURN_IF_ERROR(c->Divide(size, strides, /*evenly_divisible=*/false, &size));
    TF_RETURN_IF_ERROR(c->ReplaceDim(maps, axis, size, &maps));
    TF_RETURN_IF_ERROR(c->Divide(size, pool_size, /*evenly_divisible=*/false, &size));
    TF_RETURN_IF_ERROR(c->ReplaceDim(outputs, axis, size, &outputs));
  }
  bool known = true;
  int64_t sizes[4];
  for (int axis = 0; axis < 4; ++axis) {
    sizes[axis] = c->Value(c->Dim(images, axis));
    known = known && c->ValueKnown(c->Dim(images, axis));
  }
  known = known && c->ValueKnown(c->Dim(kernel, 3));
  if (!known)
    TF_RETURN_IF_ERROR(c->ReplaceDim(maps, 0, c->UnknownDim(), &maps));
  else if (!fslcore::KeepsMaps(
               {sizes[0], sizes[1], sizes[2], sizes[3], c->Value(c->Dim(kernel, 3)), strides}))
    TF_RETURN_IF_ERROR(c->ReplaceDim(maps, 0, c->MakeDim(0), &maps));
  c->set_output(0, outputs);
  c->set_output(1, maps);
  c->set_output(2, c->Vector(c->Dim(kernel, 3)));
  c->set_output(3, c->Vector(c->Dim(kernel, 3)));
  return absl::OkStatus();
}

absl::Status ConvBlockGradShape(InferenceContext* c) {
  bool with_images;
  TF_RETURN_IF_ERROR(c->GetAttr("with_images", &with_images));
  ShapeHandle grad, images, kernel;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &grad));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &images));
  kernel = c->MakeShape({c->MakeDim(3), c->MakeDim(3), c->Dim(images, 3), c->Dim(grad, 3)});
  if (!with_images) TF_RETURN_IF_ERROR(c->ReplaceDim(images, 0, c->MakeDim(0), &images));
  c->set_output(0, images);
  c->set_output(1, kernel);
  c->set_output(2, c->input(3));  // gamma
  c->set_output(3, c->input(4));  // beta
  return absl::OkStatus();
}

// Weights, gradients, squares and the power to new weights, new squares and the new power.
absl::Status AdamStepShape(InferenceContext* c) {
  const int count = c->num_inputs() / 3;
  ShapeHandle shape;
  for (int i = 0; i < count; ++i) {
    TF_RETURN_IF_ERROR(c->Merge(c->input(i), c->input(count + i), &shape));
    TF_RETURN_IF_ERROR(c->Merge(shape, c->input(2 * count + i), &shape));
    c->set_output(i, shape);
    c->set_output(count + i, shape);
  }
  TF_RETURN_IF_ERROR(c->WithRank(c->input(3 * count), 0, &shape));
  c->set_output(2 * count, shape);
  return absl::OkStatus();
}

// What each task makes of what all start from: the same shapes, behind an axis of the tasks.
absl::Status FitClassifiersShape(InferenceContext* c) {
  ShapeHandle images, order;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 5, &images));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 3, &order));
  const ShapeHandle tasks = c->Vector(c->Dim(images, 0));
  const int lists = c->num_inputs() - 3;
  for (int i = 0; i < lists; ++i) {
    ShapeHandle stacked;
    TF_RETURN_IF_ERROR(c->Concatenate(tasks, c->input(3 + i), &stacked));
    c->set_output(i, stacked);
  }
  int weights;
  TF_RETURN_IF_ERROR(c->GetAttr("N", &weights));
  ShapeHandle bias;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(3 + weights - 1), 1, &bias));
  c->set_output(lists, c->Matrix(c->Dim(order, 0), c->Dim(order, 1)));
  c->set_output(lists + 1, c->MakeShape({c->Dim(order, 0), c->Dim(order, 2), c->Dim(bias, 0)}));
  return absl::OkStatus();
}

#define METRIC_ATTRS                                                                               \
  Attr("metric: {'sqeuclidean', 'euclidean', 'cosine', 'dot', 'manhattan', 'weighted_manhattan'}") \
      .Attr("activation: {'none', 'sigmoid'}")                                                     \
      .Attr("precision: {'float32', 'tf32', '3xtf32', 'bfloat16'} = 'float32'")

REGISTER_OP("FslcorePairwise")
    .Input("x: float")
    .Input("y: float")
    .Input("weights: float")
    .Input("bias: float")
    .METRIC_ATTRS.Output("out: float")
    .SetShapeFn(PairwiseShape);

REGISTER_OP("FslcorePairwiseGrad")
    .Input("x: float")
    .Input("y: float")
    .Input("weights: float")
    .Input("bias: float")
    .Input("grad: float")
    .Input("out: float")
    .METRIC_ATTRS.Output("dx: float")
    .Output("dy: float")
    .Output("dweights: float")
    .Output("dbias: float")
    .SetShapeFn(PairwiseGradShape);

REGISTER_OP("FslcoreTripletLoss")
    .Input("x: float")
    .Input("labels: int64")
    .Attr("mining: {'semihard', 'hard'}")
    .Attr("metric: {'sqeuclidean', 'euclidean', 'cosine'}")
    .Attr("margin: float")
    .Output("loss: float")
    .Output("grad: float")
    .Output("num_pairs: int64")
    .SetShapeFn(TripletShape);

REGISTER_OP("FslcoreMineTriplets")
    .Input("x: float")
    .Input("labels: int64")
    .Attr("mining: {'semihard', 'hard'}")
    .Attr("metric: {'sqeuclidean', 'euclidean', 'cosine'}")
    .Output("anchor: int32")
    .Output("positive: int32")
    .Output("negative: int32")
    .SetShapeFn(MineShape);

REGISTER_OP("FslcoreSampleEpisodes")
    .Input("labels: int64")
    .Input("seed: int64")
    .Input("first_episode: int64")
    .Attr("n_way: int")
    .Attr("k_shot: int")
    .Attr("n_query: int")
    .Attr("episodes: int")
    .Output("indices: int32")
    .SetShapeFn(EpisodesShape);

REGISTER_OP("FslcoreGatherImages")
    .Input("store: uint8")
    .Input("indices: int64")
    .Input("rotations: int64")
    .Attr("height: int")
    .Attr("width: int")
    .Attr("scale: float")
    .Attr("shift: float")
    .Output("images: float")
    .SetShapeFn(GatherShape);

REGISTER_OP("FslcoreConvBlock")
    .Input("images: float")
    .Input("kernel: float")
    .Input("gamma: float")
    .Input("beta: float")
    .Attr("strides: int >= 1")
    .Attr("pool_size: int >= 1")
    .Attr("epsilon: float")
    .Attr("precision: {'float32', 'bfloat16'} = 'float32'")
    .Output("outputs: float")
    .Output("maps: float")  // of no image, where the gradient makes them again
    .Output("mean: float")
    .Output("variance: float")
    .SetShapeFn(ConvBlockShape);

REGISTER_OP("FslcoreConvBlockGrad")
    .Input("grad: float")
    .Input("images: float")
    .Input("kernel: float")
    .Input("gamma: float")
    .Input("beta: float")
    .Input("maps: float")
    .Input("mean: float")
    .Input("variance: float")
    .Attr("strides: int >= 1")
    .Attr("pool_size: int >= 1")
    .Attr("epsilon: float")
    .Attr("precision: {'float32', 'bfloat16'} = 'float32'")
    .Attr("with_images: bool")
    .Output("images_grad: float")  // of no image without `with_images`
    .Output("kernel_grad: float")
    .Output("gamma_grad: float")
    .Output("beta_grad: float")
    .SetShapeFn(ConvBlockGradShape);

REGISTER_OP("FslcoreFitClassifiers")
    .Input("images: float")
    .Input("labels: int32")
    .Input("order: int32")
    .Input("weights: N * float")
    .Input("averages: M * float")
    .Input("memory: K * float")
    .Attr("N: int >= 1")
    .Attr("M: int >= 1")
    .Attr("K: int >= 0")
    .Attr("strides: list(int)")
    .Attr("pool_sizes: list(int)")
    .Attr("epsilons: list(float)")
    .Attr("precisions: list({'float32', 'bfloat16'})")
    .Attr("momenta: list(float)")
    .Attr("learning_rate: float")
    .Attr("adam: bool")
    .Attr("beta_2: float = 0.0")
    .Attr("one_minus_beta_2: float = 1.0")
    .Attr("adam_epsilon: float = 0.0")
    .Output("new_weights: N * float")
    .Output("new_averages: M * float")
    .Output("new_memory: K * float")
    .Output("losses: float")
    .Output("logits: float")
    .SetShapeFn(FitClassifiersShape);

REGISTER_OP("FslcoreAdamStep")
    .Input("weights: N * float")
    .Input("gradients: N * float")
    .Input("squares: N * float")
    .Input("power: float")
    .Attr("N: int >= 1")
    .Attr("learning_rate: float")
    .Attr("beta_2: float")
    .Attr("one_minus_beta_2: float")
    .Attr("epsilon: float")
    .Output("new_weights: N * float")
    .Output("new_squares: N * float")
    .Output("new_power: float")
    .SetShapeFn(AdamStepShape);

}  // namespace
}  // namespace tensorflow
