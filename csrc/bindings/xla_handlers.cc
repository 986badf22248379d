// SPDX-License-Identifier: MIT
#include "bindings/xla_handlers.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/adam_step.h"
#include "core/conv_block.h"
#include "core/episodes.h"
#include "core/gram.h"
#include "core/images.h"
#include "core/triplets.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

using F0 = ffi::Buffer<ffi::F32, 0>;
using F1 = ffi::Buffer<ffi::F32, 1>;
using F2 = ffi::Buffer<ffi::F32, 2>;
using F4 = ffi::Buffer<ffi::F32, 4>;
using I0 = ffi::Buffer<ffi::S32, 0>;
using I1 = ffi::Buffer<ffi::S32, 1>;
using I3 = ffi::Buffer<ffi::S32, 3>;
using L0 = ffi::Buffer<ffi::S64, 0>;
using L1 = ffi::Buffer<ffi::S64, 1>;
using U4 = ffi::Buffer<ffi::U8, 4>;
using AnyL = ffi::Buffer<ffi::S64>;
using AnyF = ffi::Buffer<ffi::F32>;

fslcore::Executor ExecutorOf(ffi::ThreadPool& pool) {
  return {static_cast<int>(pool.num_threads()),
          [&pool](std::function<void()> task) { pool.Schedule(std::move(task)); }};
}

fslcore::Matrix<const float> MatrixOf(F2& b) {
  return {b.typed_data(), b.dimensions()[0], b.dimensions()[1]};
}

template <class Buffer>
std::vector<int64_t> ShapeOf(const Buffer& b) {
  return {b.dimensions().begin(), b.dimensions().end()};
}

ffi::Error Invalid(const std::string& problem) { return ffi::Error::InvalidArgument(problem); }

ffi::Error MakeKernel(F2& x, F2& y, F1& weights, F0& bias, std::string_view metric,
                      std::string_view activation, fslcore::PairwiseKernel* kernel) {
  const auto m = fslcore::ParseMetric(metric);
  const auto a = fslcore::ParseActivation(activation);
  if (!m || !a) return Invalid("metric or activation is unknown, received " + std::string(metric));
  *kernel = {
      *m, *a, {weights.typed_data(), static_cast<int64_t>(weights.element_count())}, *bias.typed_data()};
  const std::string problem = fslcore::CheckPairwise(*kernel, MatrixOf(x), MatrixOf(y));
  return problem.empty() ? ffi::Error::Success() : Invalid(problem);
}

ffi::Error Pairwise(ffi::ThreadPool pool, F2 x, F2 y, F1 weights, F0 bias, ffi::Result<F2> out,
                    std::string_view metric, std::string_view activation) {
  fslcore::PairwiseKernel kernel;
  if (auto error = MakeKernel(x, y, weights, bias, metric, activation, &kernel); error.failure())
    return error;
  fslcore::Pairwise(ExecutorOf(pool), kernel, MatrixOf(x), MatrixOf(y), out->typed_data());
  return ffi::Error::Success();
}

ffi::Error PairwiseGrad(ffi::ThreadPool pool, F2 x, F2 y, F1 weights, F0 bias, F2 grad, F2 out,
                        ffi::Result<F2> dx, ffi::Result<F2> dy, ffi::Result<F1> dweights,
                        ffi::Result<F0> dbias, std::string_view metric, std::string_view activation) {
  fslcore::PairwiseKernel kernel;
  if (auto error = MakeKernel(x, y, weights, bias, metric, activation, &kernel); error.failure())
    return error;
  fslcore::PairwiseGrad(ExecutorOf(pool), kernel, MatrixOf(x), MatrixOf(y), grad.typed_data(),
                        out.typed_data(),
                        {dx->typed_data(), dy->typed_data(),
                         kernel.weights.size > 0 ? dweights->typed_data() : nullptr, dbias->typed_data()});
  return ffi::Error::Success();
}

// `rows` of the batch are real, the others padding of a bounded dynamic dimension.
struct Batch {
  fslcore::Mining mining;
  fslcore::Metric metric;
  fslcore::Matrix<const float> x;
  fslcore::Vector<const int64_t> labels;
};

ffi::Error MakeBatch(F2& x, L1& labels, I0& rows, std::string_view mining, std::string_view metric,
                     Batch* batch) {
  const auto triplets = fslcore::ParseMining(mining);
  if (!triplets) return Invalid("mining must be semihard or hard, received " + std::string(mining));
  const auto m = fslcore::ParseMetric(metric);
  if (!m) return Invalid("metric is unknown, received " + std::string(metric));
  const std::string problem =
      fslcore::CheckTriplets(*m, MatrixOf(x), static_cast<int64_t>(labels.element_count()));
  if (!problem.empty()) return Invalid(problem);
  const int64_t count = *rows.typed_data();
  *batch = {*triplets, *m, {x.typed_data(), count, x.dimensions()[1]}, {labels.typed_data(), count}};
  return ffi::Error::Success();
}

ffi::Error TripletLoss(ffi::ThreadPool pool, F2 x, L1 labels, I0 rows, ffi::Result<F0> loss,
                       ffi::Result<F2> grad, ffi::Result<L0> triplets, std::string_view mining,
                       std::string_view metric, float margin) {
  Batch batch;
  if (auto error = MakeBatch(x, labels, rows, mining, metric, &batch); error.failure()) return error;
  std::fill(grad->typed_data() + batch.x.rows * batch.x.cols, grad->typed_data() + grad->element_count(),
            0.0f);
  const auto result = fslcore::TripletLossAndGrad(ExecutorOf(pool), batch.mining, batch.metric, margin,
                                                  batch.x, batch.labels, grad->typed_data());
  *loss->typed_data() = result.loss;
  *triplets->typed_data() = result.triplets;
  return ffi::Error::Success();
}

ffi::Error MineTriplets(ffi::ThreadPool pool, F2 x, L1 labels, I0 rows, ffi::Result<I1> anchor,
                        ffi::Result<I1> positive, ffi::Result<I1> negative, ffi::Result<I0> triplets,
                        std::string_view mining, std::string_view metric) {
  Batch batch;
  if (auto error = MakeBatch(x, labels, rows, mining, metric, &batch); error.failure()) return error;
  for (auto* out : {&anchor, &positive, &negative})
    std::fill((*out)->typed_data(), (*out)->typed_data() + (*out)->element_count(), 0);
  *triplets->typed_data() = static_cast<int32_t>(fslcore::CountTriplets(batch.mining, batch.labels));
  fslcore::MineTriplets(ExecutorOf(pool), batch.mining, batch.metric, batch.x, batch.labels,
                        anchor->typed_data(), positive->typed_data(), negative->typed_data());
  return ffi::Error::Success();
}

ffi::Error SampleEpisodes(ffi::ThreadPool pool, L1 labels, L0 seed, L0 first_episode, ffi::Result<I3> out,
                          int64_t n_way, int64_t k_shot, int64_t n_query, int64_t episodes) {
  const fslcore::Classes classes({labels.typed_data(), static_cast<int64_t>(labels.element_count())});
  const fslcore::EpisodeShape shape = {n_way, k_shot, n_query};
  const std::string problem =
      fslcore::CheckEpisodes(classes, shape, episodes, *seed.typed_data(), *first_episode.typed_data());
  if (!problem.empty()) return Invalid(problem);
  fslcore::SampleEpisodes(ExecutorOf(pool), classes, shape, episodes, *seed.typed_data(),
                          *first_episode.typed_data(), out->typed_data());
  return ffi::Error::Success();
}

ffi::Error GatherImages(ffi::ThreadPool pool, U4 store, AnyL indices, AnyL rotations,
                        ffi::Result<ffi::Buffer<ffi::F32>> out, int64_t height, int64_t width, float scale,
                        float shift) {
  const fslcore::ImageChange change = {height, width, scale, shift};
  const auto size = store.dimensions();
  const fslcore::Images images = {store.typed_data(), size[0], size[1], size[2], size[3]};
  const fslcore::Vector<const int64_t> picked = {indices.typed_data(),
                                                 static_cast<int64_t>(indices.element_count())};
  const fslcore::Vector<const int64_t> turns = {rotations.typed_data(),
                                                static_cast<int64_t>(rotations.element_count())};
  std::string problem = fslcore::CheckRotations(ShapeOf(indices), ShapeOf(rotations));
  if (problem.empty()) problem = fslcore::CheckGather(images, picked, turns, change);
  if (!problem.empty()) return Invalid(problem);
  fslcore::GatherImages(ExecutorOf(pool), images, picked, turns, change, out->typed_data());
  return ffi::Error::Success();
}

// `rows` of the batch are real here too; the results for the others are zero.
void FillFrom(ffi::Result<F4>& out, int64_t row) {
  const auto size = out->dimensions();
  std::fill(out->typed_data() + row * size[1] * size[2] * size[3], out->typed_data() + out->element_count(),
            0.0f);
}

fslcore::ConvShape ConvShapeOf(ffi::Span<const int64_t> images, I0& rows, int64_t filters, int64_t strides) {
  return {*rows.typed_data(), images[1], images[2], images[3], filters, strides};
}

ffi::Error ConvBlock(ffi::ThreadPool pool, F4 images, F4 kernel, F1 gamma, F1 beta, I0 rows,
                     ffi::Result<F4> outputs, ffi::Result<F4> convolved, ffi::Result<F1> mean,
                     ffi::Result<F1> variance, int64_t strides, float epsilon) {
  const std::string problem = fslcore::CheckConvBlock(ShapeOf(images), ShapeOf(kernel), ShapeOf(gamma),
                                                      ShapeOf(beta), strides, epsilon);
  if (!problem.empty()) return Invalid(problem);
  const auto shape = ConvShapeOf(images.dimensions(), rows, kernel.dimensions()[3], strides);
  FillFrom(outputs, shape.count);
  FillFrom(convolved, shape.count);
  fslcore::ConvBlock(
      ExecutorOf(pool), shape, images.typed_data(), kernel.typed_data(),
      {gamma.typed_data(), beta.typed_data(), epsilon},
      {outputs->typed_data(), convolved->typed_data(), mean->typed_data(), variance->typed_data()});
  return ffi::Error::Success();
}

ffi::Error ConvBlockNormGrad(ffi::ThreadPool pool, F4 grad, F4 convolved, F1 mean, F1 variance, F1 gamma,
                             F1 beta, I0 rows, ffi::Result<F4> convolved_grad, ffi::Result<F1> gamma_grad,
                             ffi::Result<F1> beta_grad, float epsilon) {
  const std::string problem =
      fslcore::CheckConvBlockNormGrad(ShapeOf(grad), ShapeOf(convolved), ShapeOf(mean), ShapeOf(variance),
                                      ShapeOf(gamma), ShapeOf(beta), epsilon);
  if (!problem.empty()) return Invalid(problem);
  const auto size = convolved.dimensions();
  FillFrom(convolved_grad, *rows.typed_data());
  fslcore::ConvBlockNormGrad(
      ExecutorOf(pool), *rows.typed_data() * size[1] * size[2], size[3], grad.typed_data(),
      convolved.typed_data(), mean.typed_data(), variance.typed_data(),
      {gamma.typed_data(), beta.typed_data(), epsilon},
      {convolved_grad->typed_data(), gamma_grad->typed_data(), beta_grad->typed_data()});
  return ffi::Error::Success();
}

ffi::Error ConvInputGrad(ffi::ThreadPool pool, F4 kernel, F4 grad, I0 rows, ffi::Result<F4> images_grad,
                         int64_t strides) {
  const std::string problem =
      fslcore::CheckConvInputGrad(ShapeOf(*images_grad), ShapeOf(kernel), ShapeOf(grad), strides);
  if (!problem.empty()) return Invalid(problem);
  const auto shape = ConvShapeOf(images_grad->dimensions(), rows, grad.dimensions()[3], strides);
  FillFrom(images_grad, shape.count);
  fslcore::ConvInputGrad(ExecutorOf(pool), shape, kernel.typed_data(), grad.typed_data(),
                         images_grad->typed_data());
  return ffi::Error::Success();
}

ffi::Error ConvKernelGrad(ffi::ThreadPool pool, F4 images, F4 grad, I0 rows, ffi::Result<F4> kernel_grad,
                          int64_t strides) {
  const std::string problem = fslcore::CheckConvKernelGrad(ShapeOf(images), ShapeOf(grad), strides);
  if (!problem.empty()) return Invalid(problem);
  fslcore::ConvKernelGrad(ExecutorOf(pool),
                          ConvShapeOf(images.dimensions(), rows, grad.dimensions()[3], strides),
                          images.typed_data(), grad.typed_data(), kernel_grad->typed_data());
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
  std::vector<fslcore::Sizes> shapes;
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
  const std::string problem = fslcore::CheckAdamStep(shapes);
  if (!problem.empty()) return Invalid(problem);
  std::vector<fslcore::AdamTensor> tensors;
  for (size_t i = 0; i < count; ++i)
    tensors.push_back({static_cast<int64_t>(in[i].element_count()), in[i].typed_data(),
                       in[count + i].typed_data(), in[2 * count + i].typed_data(), out[i].typed_data(),
                       out[count + i].typed_data()});
  *out.back().typed_data() =
      fslcore::AdamStep({learning_rate, beta_2, one_minus_beta_2, epsilon}, tensors, *in.back().typed_data());
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_pairwise_cpu, Pairwise,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F2>()  // x
                                  .Arg<F2>()  // y
                                  .Arg<F1>()  // weights
                                  .Arg<F0>()  // bias
                                  .Ret<F2>()  // out
                                  .Attr<std::string_view>("metric")
                                  .Attr<std::string_view>("activation"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_pairwise_grad_cpu, PairwiseGrad,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F2>()  // x
                                  .Arg<F2>()  // y
                                  .Arg<F1>()  // weights
                                  .Arg<F0>()  // bias
                                  .Arg<F2>()  // grad
                                  .Arg<F2>()  // out
                                  .Ret<F2>()  // dx
                                  .Ret<F2>()  // dy
                                  .Ret<F1>()  // dweights
                                  .Ret<F0>()  // dbias
                                  .Attr<std::string_view>("metric")
                                  .Attr<std::string_view>("activation"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_triplet_loss_cpu, TripletLoss,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F2>()  // x
                                  .Arg<L1>()  // labels
                                  .Arg<I0>()  // rows
                                  .Ret<F0>()  // loss
                                  .Ret<F2>()  // grad
                                  .Ret<L0>()  // num_pairs
                                  .Attr<std::string_view>("mining")
                                  .Attr<std::string_view>("metric")
                                  .Attr<float>("margin"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_mine_triplets_cpu, MineTriplets,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F2>()  // x
                                  .Arg<L1>()  // labels
                                  .Arg<I0>()  // rows
                                  .Ret<I1>()  // anchor
                                  .Ret<I1>()  // positive
                                  .Ret<I1>()  // negative
                                  .Ret<I0>()  // num_pairs
                                  .Attr<std::string_view>("mining")
                                  .Attr<std::string_view>("metric"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_sample_episodes_cpu, SampleEpisodes,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<L1>()  // labels
                                  .Arg<L0>()  // seed
                                  .Arg<L0>()  // first_episode
                                  .Ret<I3>()  // indices
                                  .Attr<int64_t>("n_way")
                                  .Attr<int64_t>("k_shot")
                                  .Attr<int64_t>("n_query")
                                  .Attr<int64_t>("episodes"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_gather_images_cpu, GatherImages,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<U4>()                     // store
                                  .Arg<AnyL>()                   // indices
                                  .Arg<AnyL>()                   // rotations
                                  .Ret<ffi::Buffer<ffi::F32>>()  // images
                                  .Attr<int64_t>("height")
                                  .Attr<int64_t>("width")
                                  .Attr<float>("scale")
                                  .Attr<float>("shift"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_conv_block_cpu, ConvBlock,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F4>()  // images
                                  .Arg<F4>()  // kernel
                                  .Arg<F1>()  // gamma
                                  .Arg<F1>()  // beta
                                  .Arg<I0>()  // rows
                                  .Ret<F4>()  // outputs
                                  .Ret<F4>()  // convolved
                                  .Ret<F1>()  // mean
                                  .Ret<F1>()  // variance
                                  .Attr<int64_t>("strides")
                                  .Attr<float>("epsilon"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_conv_block_norm_grad_cpu, ConvBlockNormGrad,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F4>()  // grad
                                  .Arg<F4>()  // convolved
                                  .Arg<F1>()  // mean
                                  .Arg<F1>()  // variance
                                  .Arg<F1>()  // gamma
                                  .Arg<F1>()  // beta
                                  .Arg<I0>()  // rows
                                  .Ret<F4>()  // convolved_grad
                                  .Ret<F1>()  // gamma_grad
                                  .Ret<F1>()  // beta_grad
                                  .Attr<float>("epsilon"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_conv_input_grad_cpu, ConvInputGrad,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F4>()  // kernel
                                  .Arg<F4>()  // grad
                                  .Arg<I0>()  // rows
                                  .Ret<F4>()  // images_grad
                                  .Attr<int64_t>("strides"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_conv_kernel_grad_cpu, ConvKernelGrad,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F4>()  // images
                                  .Arg<F4>()  // grad
                                  .Arg<I0>()  // rows
                                  .Ret<F4>()  // kernel_grad
                                  .Attr<int64_t>("strides"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_adam_step_cpu, AdamStep,
                              ffi::Ffi::Bind()
                                  .RemainingArgs()  // weights, gradients, squares, power
                                  .RemainingRets()  // new weights, squares, power
                                  .Attr<float>("learning_rate")
                                  .Attr<float>("beta_2")
                                  .Attr<float>("one_minus_beta_2")
                                  .Attr<float>("epsilon"));
