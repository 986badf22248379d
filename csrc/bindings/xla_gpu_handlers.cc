// SPDX-License-Identifier: MIT
// The handlers of xla_handlers.cc for platform "CUDA": the arguments are in the memory of the device, so only
// what shapes and attributes tell is checked. No CUDA header is needed.
#include <string>

#include "bindings/xla_handlers.h"
#include "bindings/xla_signatures.h"
#include "cuda/episodes/episodes.h"
#include "cuda/pairwise/pairwise.h"
#include "cuda/images/images.h"
#include "cuda/triplets/triplets.h"

namespace fslcore::xla_ffi {
namespace {

using Stream = cuda::Stream;

ffi::Error Ran(const std::string& problem) {
  return problem.empty() ? ffi::Error::Success() : ffi::Error::Internal(problem);
}

// Calls run(workspace) with so many bytes.
template <class Run>
ffi::Error WithWorkspace(ffi::ScratchAllocator& scratch, int64_t bytes, const Run& run) {
  void* workspace = nullptr;
  if (bytes > 0) {
    const auto allocated = scratch.Allocate(static_cast<size_t>(bytes), 256);
    if (!allocated)
      return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                        "no room for a workspace of " + std::to_string(bytes) + " bytes on the GPU");
    workspace = *allocated;
  }
  return Ran(run(workspace));
}

cuda::PairwiseKernel KernelOf(const PairwiseAttributes& a, F1& weights, F0& bias) {
  return {a.metric, a.activation, VectorOf<float>(weights), bias.typed_data(), a.precision};
}

ffi::Error Pairwise(Stream stream, ffi::ScratchAllocator scratch, F2 x, F2 y, F1 weights, F0 bias,
                    ffi::Result<F2> out, std::string_view metric, std::string_view activation,
                    std::string_view precision) {
  PairwiseAttributes a;
  if (auto error = ReadPairwise(x, y, weights, metric, activation, precision, &a); error.failure())
    return error;
  const cuda::PairwiseKernel kernel = KernelOf(a, weights, bias);
  return WithWorkspace(
      scratch, cuda::PairwiseWorkspace(kernel, MatrixOf(x), MatrixOf(y)), [&](void* workspace) {
        return cuda::Pairwise(stream, kernel, MatrixOf(x), MatrixOf(y), workspace, out->typed_data());
      });
}

ffi::Error PairwiseGrad(Stream stream, ffi::ScratchAllocator scratch, F2 x, F2 y, F1 weights, F0 bias,
                        F2 grad, F2 out, ffi::Result<F2> dx, ffi::Result<F2> dy, ffi::Result<F1> dweights,
                        ffi::Result<F0> dbias, std::string_view metric, std::string_view activation,
                        std::string_view precision) {
  PairwiseAttributes a;
  if (auto error = ReadPairwise(x, y, weights, metric, activation, precision, &a); error.failure())
    return error;
  const cuda::PairwiseKernel kernel = KernelOf(a, weights, bias);
  const cuda::PairwiseGradients gradients = {dx->typed_data(), dy->typed_data(),
                                             weights.element_count() > 0 ? dweights->typed_data() : nullptr,
                                             dbias->typed_data()};
  return WithWorkspace(scratch, cuda::PairwiseGradWorkspace(kernel, MatrixOf(x), MatrixOf(y)),
                       [&](void* workspace) {
                         return cuda::PairwiseGrad(stream, kernel, MatrixOf(x), MatrixOf(y),
                                                   grad.typed_data(), out.typed_data(), workspace, gradients);
                       });
}

ffi::Error TripletLoss(Stream stream, ffi::ScratchAllocator scratch, F2 x, L1 labels, I0 rows,
                       ffi::Result<F0> loss, ffi::Result<F2> grad, ffi::Result<L0> triplets,
                       std::string_view mining, std::string_view metric, float margin) {
  TripletAttributes a;
  if (auto error = ReadTriplets(x, labels, mining, metric, &a); error.failure()) return error;
  const cuda::TripletBatch batch = {a.mining, a.metric, MatrixOf(x), labels.typed_data(), rows.typed_data()};
  return WithWorkspace(scratch, cuda::TripletLossWorkspace(batch), [&](void* workspace) {
    return cuda::TripletLossAndGrad(stream, batch, margin, workspace, loss->typed_data(), grad->typed_data(),
                                    triplets->typed_data());
  });
}

ffi::Error MineTriplets(Stream stream, ffi::ScratchAllocator scratch, F2 x, L1 labels, I0 rows,
                        ffi::Result<I1> anchor, ffi::Result<I1> positive, ffi::Result<I1> negative,
                        ffi::Result<I0> triplets, std::string_view mining, std::string_view metric) {
  TripletAttributes a;
  if (auto error = ReadTriplets(x, labels, mining, metric, &a); error.failure()) return error;
  const cuda::TripletBatch batch = {a.mining, a.metric, MatrixOf(x), labels.typed_data(), rows.typed_data()};
  return WithWorkspace(scratch, cuda::MineTripletsWorkspace(batch), [&](void* workspace) {
    return cuda::MineTriplets(stream, batch, workspace, static_cast<int64_t>(anchor->element_count()),
                              anchor->typed_data(), positive->typed_data(), negative->typed_data(),
                              triplets->typed_data());
  });
}

ffi::Error SampleEpisodes(Stream stream, ffi::ScratchAllocator scratch, L1 labels, L0 seed, L0 first_episode,
                          ffi::Result<I3> out, int64_t n_way, int64_t k_shot, int64_t n_query,
                          int64_t episodes) {
  const EpisodeShape shape = {n_way, k_shot, n_query};
  if (auto error = Checked(CheckEpisodeCounts(shape, episodes)); error.failure()) return error;
  const auto given = VectorOf<int64_t>(labels);
  return WithWorkspace(scratch, cuda::SampleEpisodesWorkspace(given, shape, episodes), [&](void* workspace) {
    return cuda::SampleEpisodes(stream, given, shape, episodes, seed.typed_data(), first_episode.typed_data(),
                                workspace, out->typed_data());
  });
}

ffi::Error GatherImages(Stream stream, U4 store, AnyL indices, AnyL rotations,
                        ffi::Result<ffi::Buffer<ffi::F32>> out, int64_t height, int64_t width, float scale,
                        float shift) {
  const ImageChange change = {height, width, scale, shift};
  const Images images = ImagesOf(store);
  if (auto error = Checked(CheckRotations(ShapeOf(indices), ShapeOf(rotations))); error.failure())
    return error;
  if (auto error = Checked(CheckChange(images, change)); error.failure()) return error;
  return Ran(cuda::GatherImages(stream, images, VectorOf<int64_t>(indices), VectorOf<int64_t>(rotations),
                                change, out->typed_data()));
}

auto OnStream() { return ffi::Ffi::Bind().Ctx<ffi::PlatformStream<Stream>>(); }
auto OnStreamWithScratch() { return OnStream().Ctx<ffi::ScratchAllocator>(); }

}  // namespace
}  // namespace fslcore::xla_ffi

using namespace fslcore::xla_ffi;

XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_pairwise_cuda, Pairwise, WithPairwiseSignature(OnStreamWithScratch()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_pairwise_grad_cuda, PairwiseGrad,
                              WithPairwiseGradSignature(OnStreamWithScratch()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_triplet_loss_cuda, TripletLoss,
                              WithTripletLossSignature(OnStreamWithScratch()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_mine_triplets_cuda, MineTriplets,
                              WithMineTripletsSignature(OnStreamWithScratch()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_sample_episodes_cuda, SampleEpisodes,
                              WithSampleEpisodesSignature(OnStreamWithScratch()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_gather_images_cuda, GatherImages,
                              WithGatherImagesSignature(OnStream()));
