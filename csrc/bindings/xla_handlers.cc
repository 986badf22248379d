// SPDX-License-Identifier: MIT
#include "bindings/xla_handlers.h"

#include <algorithm>
#include <string>
#include <vector>

#include "bindings/xla_signatures.h"
#include "core/fitting/adam_step.h"
#include "core/convolution/conv_block.h"
#include "core/episodes/episodes.h"
#include "core/pairwise/pairwise.h"
#include "core/images/images.h"
#include "core/triplets/triplets.h"

namespace fslcore::xla_ffi {
namespace {

using AnyF = ffi::Buffer<ffi::F32>;

Executor ExecutorOf(ffi::ThreadPool& pool) {
  return {static_cast<int>(pool.num_threads()),
          [&pool](std::function<void()> task) { pool.Schedule(std::move(task)); }};
}

ffi::Error Pairwise(ffi::ThreadPool pool, F2 x, F2 y, F1 weights, F0 bias, ffi::Result<F2> out,
                    std::string_view metric, std::string_view activation, std::string_view precision) {
  PairwiseAttributes a;
  if (auto error = ReadPairwise(x, y, weights, metric, activation, precision, &a); error.failure())
    return error;
  fslcore::Pairwise(ExecutorOf(pool), {a.metric, a.activation, VectorOf<float>(weights), *bias.typed_data()},
                    MatrixOf(x), MatrixOf(y), out->typed_data());
  return ffi::Error::Success();
}

ffi::Error PairwiseGrad(ffi::ThreadPool pool, F2 x, F2 y, F1 weights, F0 bias, F2 grad, F2 out,
                        ffi::Result<F2> dx, ffi::Result<F2> dy, ffi::Result<F1> dweights,
                        ffi::Result<F0> dbias, std::string_view metric, std::string_view activation,
                        std::string_view precision) {
  PairwiseAttributes a;
  if (auto error = ReadPairwise(x, y, weights, metric, activation, precision, &a); error.failure())
    return error;
  fslcore::PairwiseGrad(
      ExecutorOf(pool), {a.metric, a.activation, VectorOf<float>(weights), *bias.typed_data()}, MatrixOf(x),
      MatrixOf(y), grad.typed_data(), out.typed_data(),
      {dx->typed_data(), dy->typed_data(), weights.element_count() > 0 ? dweights->typed_data() : nullptr,
       dbias->typed_data()});
  return ffi::Error::Success();
}

// `rows` of the batch are real, the others padding of a bounded dynamic dimension.
ffi::Error TripletLoss(ffi::ThreadPool pool, F2 x, L1 labels, I0 rows, ffi::Result<F0> loss,
                       ffi::Result<F2> grad, ffi::Result<L0> triplets, std::string_view mining,
                       std::string_view metric, float margin) {
  TripletAttributes a;
  if (auto error = ReadTriplets(x, labels, mining, metric, &a); error.failure()) return error;
  const int64_t count = *rows.typed_data(), dim = x.dimensions()[1];
  std::fill(grad->typed_data() + count * dim, grad->typed_data() + grad->element_count(), 0.0f);
  const auto result =
      fslcore::TripletLossAndGrad(ExecutorOf(pool), a.mining, a.metric, margin, {x.typed_data(), count, dim},
                                  {labels.typed_data(), count}, grad->typed_data());
  *loss->typed_data() = result.loss;
  *triplets->typed_data() = result.triplets;
  return ffi::Error::Success();
}

ffi::Error MineTriplets(ffi::ThreadPool pool, F2 x, L1 labels, I0 rows, ffi::Result<I1> anchor,
                        ffi::Result<I1> positive, ffi::Result<I1> negative, ffi::Result<I0> triplets,
                        std::string_view mining, std::string_view metric) {
  TripletAttributes a;
  if (auto error = ReadTriplets(x, labels, mining, metric, &a); error.failure()) return error;
  for (auto* out : {&anchor, &positive, &negative})
    std::fill((*out)->typed_data(), (*out)->typed_data() + (*out)->element_count(), 0);
  const Vector<const int64_t> given = {labels.typed_data(), *rows.typed_data()};
  *triplets->typed_data() = static_cast<int32_t>(CountTriplets(a.mining, given));
  fslcore::MineTriplets(ExecutorOf(pool), a.mining, a.metric, {x.typed_data(), given.size, x.dimensions()[1]},
                        given, anchor->typed_data(), positive->typed_data(), negative->typed_data());
  return ffi::Error::Success();
}

ffi::Error SampleEpisodes(ffi::ThreadPool pool, L1 labels, L0 seed, L0 first_episode, ffi::Result<I3> out,
                          int64_t n_way, int64_t k_shot, int64_t n_query, int64_t episodes) {
  const Classes classes(VectorOf<int64_t>(labels));
  const EpisodeShape shape = {n_way, k_shot, n_query};
  const std::string problem =
      CheckEpisodes(classes, shape, episodes, *seed.typed_data(), *first_episode.typed_data());
  if (!problem.empty()) return Invalid(problem);
  fslcore::SampleEpisodes(ExecutorOf(pool), classes, shape, episodes, *seed.typed_data(),
                          *first_episode.typed_data(), out->typed_data());
  return ffi::Error::Success();
}

ffi::Error GatherImages(ffi::ThreadPool pool, U4 store, AnyL indices, AnyL rotations,
                        ffi::Result<ffi::Buffer<ffi::F32>> out, int64_t height, int64_t width, float scale,
                        float shift) {
  const ImageChange change = {height, width, scale, shift};
  const Images images = ImagesOf(store);
  const auto picked = VectorOf<int64_t>(indices), turns = VectorOf<int64_t>(rotations);
  std::string problem = CheckRotations(ShapeOf(indices), ShapeOf(rotations));
  if (problem.empty()) problem = CheckGather(images, picked, turns, change);
  if (!problem.empty()) return Invalid(problem);
  fslcore::GatherImages(ExecutorOf(pool), images, picked, turns, change, out->typed_data());
  return ffi::Error::Success();
}

// `rows` of the batch are real here too; the results for the others are zero.
void FillFrom(ffi::Result<F4>& out, int64_t row) {
  const auto size = out->dimensions();
  std::fill(out->typed_data() + std::min(row, size[0]) * size[1] * size[2] * size[3],
            out->typed_data() + out->element_count(), 0.0f);
}

// The options, or the sentence that says what is wrong with them.
std::string ReadConvOptions(int64_t strides, int64_t pool_size, float epsilon, std::string_view precision,
                            ConvBlockOptions* options) {
  const auto parsed = ParsePrecision(precision);
  if (!parsed) return "precision is unknown, received " + std::string(precision);
  *options = {strides, pool_size, epsilon, *parsed};
  return "";
}

// That of the `rows` which are real.
ConvBlockShape RealShape(F4 images, I0& rows, F4 kernel, const ConvBlockOptions& options) {
  ConvBlockShape shape = ConvBlockShapeOf(ShapeOf(images), ShapeOf(kernel), options);
  shape.conv.count = *rows.typed_data();
  return shape;
}

ConvBlockInputs ConvBlockInputsOf(F4 images, F4 kernel, F1 gamma, F1 beta, float epsilon) {
  return {images.typed_data(), kernel.typed_data(), gamma.typed_data(), beta.typed_data(), epsilon};
}

ffi::Error ConvBlock(ffi::ThreadPool pool, F4 images, F4 kernel, F1 gamma, F1 beta, I0 rows,
                     ffi::Result<F4> outputs, ffi::Result<F4> maps, ffi::Result<F1> mean,
                     ffi::Result<F1> variance, int64_t strides, int64_t pool_size, float epsilon,
                     std::string_view precision) {
  ConvBlockOptions options;
  std::string problem = ReadConvOptions(strides, pool_size, epsilon, precision, &options);
  if (problem.empty())
    problem = CheckConvBlock(ShapeOf(images), ShapeOf(kernel), ShapeOf(gamma), ShapeOf(beta), options);
  if (!problem.empty()) return Invalid(problem);
  const auto shape = RealShape(images, rows, kernel, options);
  FillFrom(outputs, shape.conv.count);
  FillFrom(maps, shape.conv.count);
  fslcore::ConvBlock(ExecutorOf(pool), shape, ConvBlockInputsOf(images, kernel, gamma, beta, epsilon),
                     {outputs->typed_data(), maps->element_count() ? maps->typed_data() : nullptr,
                      mean->typed_data(), variance->typed_data()});
  return ffi::Error::Success();
}

ffi::Error ConvBlockGrad(ffi::ThreadPool pool, F4 grad, F4 images, F4 kernel, F1 gamma, F1 beta, F4 maps,
                         F1 mean, F1 variance, I0 rows, ffi::Result<F4> images_grad,
                         ffi::Result<F4> kernel_grad, ffi::Result<F1> gamma_grad, ffi::Result<F1> beta_grad,
                         int64_t strides, int64_t pool_size, float epsilon, std::string_view precision,
                         int64_t with_images) {
  ConvBlockOptions options;
  std::string problem = ReadConvOptions(strides, pool_size, epsilon, precision, &options);
  if (problem.empty())
    problem = CheckConvBlockGrad(ShapeOf(grad), ShapeOf(images), ShapeOf(kernel), ShapeOf(gamma),
                                 ShapeOf(beta), ShapeOf(maps), ShapeOf(mean), ShapeOf(variance), options);
  if (!problem.empty()) return Invalid(problem);
  const auto shape = RealShape(images, rows, kernel, options);
  FillFrom(images_grad, shape.conv.count);
  fslcore::ConvBlockGrad(
      ExecutorOf(pool), shape, ConvBlockInputsOf(images, kernel, gamma, beta, epsilon),
      {maps.element_count() ? maps.typed_data() : nullptr, mean.typed_data(), variance.typed_data()},
      grad.typed_data(),
      {with_images ? images_grad->typed_data() : nullptr, kernel_grad->typed_data(), gamma_grad->typed_data(),
       beta_grad->typed_data()});
  return ffi::Error::Success();
}

ffi::Error AdamStep(ffi::RemainingArgs args, ffi::RemainingRets rets, float learning_rate, float beta_2,
                    float one_minus_beta_2, float epsilon) {
  const size_t count = args.size() / 3;
  if (count == 0 || args.size() != 3 * count + 1 || rets.size() != 2 * count + 1)
    return Invalid("a step of Adam takes as many gradients and squares as weights, and the power, received " +
                   std::to_string(args.size()) + " arguments for " + std::to_string(rets.size()) +
                   " results");
  std::vector<AnyF> in, out;
  std::vector<Sizes> shapes;
  for (size_t i = 0; i < args.size(); ++i) {
    const auto buffer = args.get<AnyF>(i);
    if (buffer.has_error()) return buffer.error();
    in.push_back(*buffer);
    shapes.push_back(ShapeOf(*buffer));
  }
  for (size_t i = 0; i < rets.size(); ++i) {
    auto buffer = rets.get<AnyF>(i);
    if (buffer.has_error()) return buffer.error();
    out.push_back(**buffer);
  }
  const std::string problem = CheckAdamStep(shapes);
  if (!problem.empty()) return Invalid(problem);
  std::vector<AdamTensor> tensors;
  for (size_t i = 0; i < count; ++i)
    tensors.push_back({static_cast<int64_t>(in[i].element_count()), in[i].typed_data(),
                       in[count + i].typed_data(), in[2 * count + i].typed_data(), out[i].typed_data(),
                       out[count + i].typed_data()});
  *out.back().typed_data() =
      fslcore::AdamStep({learning_rate, beta_2, one_minus_beta_2, epsilon}, tensors, *in.back().typed_data());
  return ffi::Error::Success();
}

}  // namespace
}  // namespace fslcore::xla_ffi

using namespace fslcore::xla_ffi;

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_pairwise_cpu, Pairwise,
                              WithPairwiseSignature(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_pairwise_grad_cpu, PairwiseGrad,
                              WithPairwiseGradSignature(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_triplet_loss_cpu, TripletLoss,
                              WithTripletLossSignature(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_mine_triplets_cpu, MineTriplets,
                              WithMineTripletsSignature(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_sample_episodes_cpu, SampleEpisodes,
                              WithSampleEpisodesSignature(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_gather_images_cpu, GatherImages,
                              WithGatherImagesSignature(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_conv_block_cpu, ConvBlock,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F4>()  // images
                                  .Arg<F4>()  // kernel
                                  .Arg<F1>()  // gamma
                                  .Arg<F1>()  // beta
                                  .Arg<I0>()  // rows
                                  .Ret<F4>()  // outputs
                                  .Ret<F4>()  // maps
                                  .Ret<F1>()  // mean
                                  .Ret<F1>()  // variance
                                  .Attr<int64_t>("strides")
                                  .Attr<int64_t>("pool_size")
                                  .Attr<float>("epsilon")
                                  .Attr<std::string_view>("precision"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_conv_block_grad_cpu, ConvBlockGrad,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F4>()  // grad
                                  .Arg<F4>()  // images
                                  .Arg<F4>()  // kernel
                                  .Arg<F1>()  // gamma
                                  .Arg<F1>()  // beta
                                  .Arg<F4>()  // maps
                                  .Arg<F1>()  // mean
                                  .Arg<F1>()  // variance
                                  .Arg<I0>()  // rows
                                  .Ret<F4>()  // images_grad
                                  .Ret<F4>()  // kernel_grad
                                  .Ret<F1>()  // gamma_grad
                                  .Ret<F1>()  // beta_grad
                                  .Attr<int64_t>("strides")
                                  .Attr<int64_t>("pool_size")
                                  .Attr<float>("epsilon")
                                  .Attr<std::string_view>("precision")
                                  .Attr<int64_t>("with_images"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_adam_step_cpu, AdamStep,
                              ffi::Ffi::Bind()
                                  .RemainingArgs()  // weights, gradients, squares, power
                                  .RemainingRets()  // new weights, squares, power
                                  .Attr<float>("learning_rate")
                                  .Attr<float>("beta_2")
                                  .Attr<float>("one_minus_beta_2")
                                  .Attr<float>("epsilon"));
