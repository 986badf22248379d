// SPDX-License-Identifier: MIT
// The buffers and attributes of the XLA calls that a CPU and a GPU serve, and what their shapes tell. A
// signature is put on a binding that has its context already:
// WithPairwiseSignature(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/pairwise/pairwise.h"
#include "core/images/images.h"
#include "core/triplets/triplets.h"
#include "xla/ffi/api/ffi.h"

namespace fslcore::xla_ffi {

namespace ffi = xla::ffi;

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

template <class Buffer>
std::vector<int64_t> ShapeOf(const Buffer& b) {
  return {b.dimensions().begin(), b.dimensions().end()};
}

template <class T, class Buffer>
Vector<const T> VectorOf(Buffer& b) {
  return {b.typed_data(), static_cast<int64_t>(b.element_count())};
}

inline Matrix<const float> MatrixOf(F2& b) { return {b.typed_data(), b.dimensions()[0], b.dimensions()[1]}; }

inline ffi::Error Invalid(const std::string& problem) { return ffi::Error::InvalidArgument(problem); }

// Success if there is no problem.
inline ffi::Error Checked(const std::string& problem) {
  return problem.empty() ? ffi::Error::Success() : Invalid(problem);
}

struct PairwiseAttributes {
  Metric metric;
  Activation activation;
  Precision precision;
};

inline ffi::Error ReadPairwise(F2& x, F2& y, F1& weights, std::string_view metric,
                               std::string_view activation, std::string_view precision,
                               PairwiseAttributes* attributes) {
  const auto m = ParseMetric(metric);
  const auto a = ParseActivation(activation);
  const auto p = ParsePrecision(precision);
  if (!m || !a || !p)
    return Invalid("metric, activation or precision is unknown, received " + std::string(metric) + ", " +
                   std::string(activation) + ", " + std::string(precision));
  *attributes = {*m, *a, *p};
  return Checked(CheckPairwise({*m, *a, VectorOf<float>(weights)}, MatrixOf(x), MatrixOf(y)));
}

struct TripletAttributes {
  Mining mining;
  Metric metric;
};

inline ffi::Error ReadTriplets(F2& x, L1& labels, std::string_view mining, std::string_view metric,
                               TripletAttributes* attributes) {
  const auto triplets = ParseMining(mining);
  if (!triplets) return Invalid("mining must be semihard or hard, received " + std::string(mining));
  const auto m = ParseMetric(metric);
  if (!m) return Invalid("metric is unknown, received " + std::string(metric));
  *attributes = {*triplets, *m};
  return Checked(CheckTriplets(*m, MatrixOf(x), static_cast<int64_t>(labels.element_count())));
}

inline Images ImagesOf(U4& store) {
  const auto size = store.dimensions();
  return {store.typed_data(), size[0], size[1], size[2], size[3]};
}

template <class Binding>
auto WithPairwiseSignature(Binding binding) {
  return std::move(binding)
      .template Arg<F2>()  // x
      .template Arg<F2>()  // y
      .template Arg<F1>()  // weights
      .template Arg<F0>()  // bias
      .template Ret<F2>()  // out
      .template Attr<std::string_view>("metric")
      .template Attr<std::string_view>("activation")
      .template Attr<std::string_view>("precision");
}

template <class Binding>
auto WithPairwiseGradSignature(Binding binding) {
  return std::move(binding)
      .template Arg<F2>()  // x
      .template Arg<F2>()  // y
      .template Arg<F1>()  // weights
      .template Arg<F0>()  // bias
      .template Arg<F2>()  // grad
      .template Arg<F2>()  // out
      .template Ret<F2>()  // dx
      .template Ret<F2>()  // dy
      .template Ret<F1>()  // dweights
      .template Ret<F0>()  // dbias
      .template Attr<std::string_view>("metric")
      .template Attr<std::string_view>("activation")
      .template Attr<std::string_view>("precision");
}

template <class Binding>
auto WithTripletLossSignature(Binding binding) {
  return std::move(binding)
      .template Arg<F2>()  // x
      .template Arg<L1>()  // labels
      .template Arg<I0>()  // rows
      .template Ret<F0>()  // loss
      .template Ret<F2>()  // grad
      .template Ret<L0>()  // num_pairs
      .template Attr<std::string_view>("mining")
      .template Attr<std::string_view>("metric")
      .template Attr<float>("margin");
}

template <class Binding>
auto WithMineTripletsSignature(Binding binding) {
  return std::move(binding)
      .template Arg<F2>()  // x
      .template Arg<L1>()  // labels
      .template Arg<I0>()  // rows
      .template Ret<I1>()  // anchor
      .template Ret<I1>()  // positive
      .template Ret<I1>()  // negative
      .template Ret<I0>()  // num_pairs
      .template Attr<std::string_view>("mining")
      .template Attr<std::string_view>("metric");
}

template <class Binding>
auto WithSampleEpisodesSignature(Binding binding) {
  return std::move(binding)
      .template Arg<L1>()  // labels
      .template Arg<L0>()  // seed
      .template Arg<L0>()  // first_episode
      .template Ret<I3>()  // indices
      .template Attr<int64_t>("n_way")
      .template Attr<int64_t>("k_shot")
      .template Attr<int64_t>("n_query")
      .template Attr<int64_t>("episodes");
}

template <class Binding>
auto WithGatherImagesSignature(Binding binding) {
  return std::move(binding)
      .template Arg<U4>()                     // store
      .template Arg<AnyL>()                   // indices
      .template Arg<AnyL>()                   // rotations
      .template Ret<ffi::Buffer<ffi::F32>>()  // images
      .template Attr<int64_t>("height")
      .template Attr<int64_t>("width")
      .template Attr<float>("scale")
      .template Attr<float>("shift");
}

}  // namespace fslcore::xla_ffi
