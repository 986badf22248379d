// SPDX-License-Identifier: MIT
// NumPy arrays in, NumPy arrays out: check, convert, release the GIL, call. The public signatures, with their
// documentation, are in fslcore/kernels.py.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/thread_pool.h"
#include "core/simd/cpu_level.h"
#include "core/episodes/episodes.h"
#include "core/pairwise/pairwise.h"
#include "core/images/images.h"
#include "core/simd/limits.h"
#include "core/triplets/triplets.h"
#ifdef FSLCORE_WITH_CUDA
#include "cuda/devices.h"
#endif

namespace py = pybind11;

namespace fslcore {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

// Replaced under the GIL; a running call keeps its own reference. Never destroyed: at the end of the process
// its threads end with it, and in a forked child they do not exist and could not be joined.
std::shared_ptr<ThreadPool>& g_pool = *new std::shared_ptr<ThreadPool>(std::make_shared<ThreadPool>(1));

void SetThreads(int threads) {
  if (g_pool->process() != getpid()) new std::shared_ptr<ThreadPool>(g_pool);  // leaked on purpose
  g_pool = std::make_shared<ThreadPool>(threads);
}

std::shared_ptr<ThreadPool> Pool() {
  if (g_pool->process() != getpid()) SetThreads(g_pool->threads());
  return g_pool;
}

void Require(const std::string& problem) {
  if (!problem.empty()) throw py::value_error(problem);
}

Matrix<const float> AsMatrix(const Array<float>& x) { return {x.data(), x.shape(0), x.shape(1)}; }

template <class T>
Vector<const T> AsVector(const Array<T>& v) {
  return {v.data(), v.size()};
}

template <class T>
std::vector<int64_t> ShapeOf(const Array<T>& a) {
  return {a.shape(), a.shape() + a.ndim()};
}

PairwiseKernel MakeKernel(const std::string& metric, const std::string& activation,
                          const Array<float>& weights, float bias) {
  return {ParseMetric(metric).value(), ParseActivation(activation).value(), AsVector(weights), bias};
}

Array<float> PairwiseArray(const Array<float>& x, const Array<float>& y, const std::string& metric,
                           const Array<float>& weights, float bias, const std::string& activation) {
  const PairwiseKernel kernel = MakeKernel(metric, activation, weights, bias);
  const auto vx = AsMatrix(x), vy = AsMatrix(y);
  Require(CheckPairwise(kernel, vx, vy));
  Array<float> out({vx.rows, vy.rows});
  float* data = out.mutable_data();
  const auto pool = Pool();
  py::gil_scoped_release release;
  Pairwise(pool->executor(), kernel, vx, vy, data);
  return out;
}

py::tuple PairwiseGradArrays(const Array<float>& x, const Array<float>& y, const Array<float>& grad,
                             const std::string& metric, const Array<float>& weights, float bias,
                             const std::string& activation) {
  const PairwiseKernel kernel = MakeKernel(metric, activation, weights, bias);
  const auto vx = AsMatrix(x), vy = AsMatrix(y), vgrad = AsMatrix(grad);
  Require(CheckPairwiseGrad(kernel, vx, vy, vgrad, vgrad));
  const bool weighted = kernel.metric == Metric::kWeightedManhattan;
  Array<float> out({vx.rows, vy.rows}), dx({vx.rows, vx.cols}), dy({vy.rows, vy.cols});
  Array<float> dweights(weighted ? vx.cols : 0), dbias(1);
  float* out_data = out.mutable_data();
  const PairwiseGradients gradients = {dx.mutable_data(), dy.mutable_data(),
                                       weighted ? dweights.mutable_data() : nullptr, dbias.mutable_data()};
  const auto pool = Pool();
  {
    py::gil_scoped_release release;
    Pairwise(pool->executor(), kernel, vx, vy, out_data);
    PairwiseGrad(pool->executor(), kernel, vx, vy, vgrad.data, out_data, gradients);
  }
  if (!weighted) return py::make_tuple(dx, dy);
  return py::make_tuple(dx, dy, dweights, dbias.at(0));
}

py::tuple MineTripletsArrays(const Array<float>& x, const Array<int64_t>& labels,
                             const std::string& mining_name, const std::string& metric_name) {
  const Mining mining = ParseMining(mining_name).value();
  const Metric metric = ParseMetric(metric_name).value();
  const auto vx = AsMatrix(x);
  const auto vlabels = AsVector(labels);
  Require(CheckTriplets(metric, vx, vlabels.size));
  const int64_t triplets = CountTriplets(mining, vlabels);
  Array<int32_t> anchor(triplets), positive(triplets), negative(triplets);
  int32_t *a = anchor.mutable_data(), *p = positive.mutable_data(), *n = negative.mutable_data();
  const auto pool = Pool();
  {
    py::gil_scoped_release release;
    MineTriplets(pool->executor(), mining, metric, vx, vlabels, a, p, n);
  }
  return py::make_tuple(anchor, positive, negative);
}

py::tuple TripletLossArrays(const Array<float>& x, const Array<int64_t>& labels,
                            const std::string& mining_name, float margin, const std::string& metric_name) {
  const Mining mining = ParseMining(mining_name).value();
  const Metric metric = ParseMetric(metric_name).value();
  const auto vx = AsMatrix(x);
  const auto vlabels = AsVector(labels);
  Require(CheckTriplets(metric, vx, vlabels.size));
  Array<float> grad({vx.rows, vx.cols});
  float* data = grad.mutable_data();
  const auto pool = Pool();
  TripletLoss result;
  {
    py::gil_scoped_release release;
    result = TripletLossAndGrad(pool->executor(), mining, metric, margin, vx, vlabels, data);
  }
  return py::make_tuple(result.loss, grad, result.triplets);
}

Array<int32_t> SampleEpisodesArray(const Classes& classes, int64_t n_way, int64_t k_shot, int64_t n_query,
                                   int64_t episodes, int64_t seed, int64_t first_episode) {
  const EpisodeShape shape = {n_way, k_shot, n_query};
  Require(CheckEpisodes(classes, shape, episodes, seed, first_episode));
  Array<int32_t> out({episodes, n_way, shape.samples()});
  int32_t* data = out.mutable_data();
  const auto pool = Pool();
  py::gil_scoped_release release;
  SampleEpisodes(pool->executor(), classes, shape, episodes, seed, first_episode, data);
  return out;
}

Array<float> GatherImagesArray(const Array<uint8_t>& store, const Array<int64_t>& indices,
                               const Array<int64_t>& rotations, int64_t height, int64_t width, float scale,
                               float shift) {
  const Images images = {store.data(), store.shape(0), store.shape(1), store.shape(2), store.shape(3)};
  Require(CheckRotations(ShapeOf(indices), ShapeOf(rotations)));
  const ImageChange change = {height, width, scale, shift};
  Require(CheckGather(images, AsVector(indices), AsVector(rotations), change));
  std::vector<py::ssize_t> shape(indices.shape(), indices.shape() + indices.ndim());
  shape.insert(shape.end(),
               {change.out_height(images.height), change.out_width(images.width), images.channels});
  Array<float> out(shape);
  float* data = out.mutable_data();
  const auto pool = Pool();
  py::gil_scoped_release release;
  GatherImages(pool->executor(), images, AsVector(indices), AsVector(rotations), change, data);
  return out;
}

double MultiplyAddRateOfPool() {
  const auto pool = Pool();
  py::gil_scoped_release release;
  return MultiplyAddRate(pool->executor());
}

double CopyRateOfPool(int64_t bytes) {
  if (bytes < 1) throw py::value_error("bytes must be at least 1, received " + std::to_string(bytes));
  const auto pool = Pool();
  py::gil_scoped_release release;
  return CopyRate(pool->executor(), bytes);
}

}  // namespace
}  // namespace fslcore

PYBIND11_MODULE(_core, m) {
  using namespace fslcore;
  m.attr("metrics") = py::tuple(py::cast(std::vector<std::string>(kMetricNames.begin(), kMetricNames.end())));
#ifdef FSLCORE_TENSORFLOW_VERSION
  m.attr("built_for_tensorflow") = FSLCORE_TENSORFLOW_VERSION;
#else
  m.attr("built_for_tensorflow") = py::none();
#endif
#ifdef FSLCORE_WITH_CUDA
  m.attr("built_for_cuda") = cuda::RuntimeVersion();
  m.def("cuda_devices", [] {
    const cuda::Devices devices = cuda::FindDevices();
    return py::make_tuple(devices.names, devices.problem);
  });
#else
  m.attr("built_for_cuda") = py::none();
  m.def("cuda_devices",
        [] { return py::make_tuple(std::vector<std::string>(), "fslcore was built without CUDA"); });
#endif
  m.def("simd_level", [] { return std::string(CpuLevelName(ActiveCpuLevel())); });
  m.def("best_simd_level", [] { return std::string(CpuLevelName(BestCpuLevel())); });
  m.def("num_threads", [] { return g_pool->threads(); });
  m.def("set_num_threads", SetThreads);
  m.def("pairwise", PairwiseArray);
  m.def("pairwise_grad", PairwiseGradArrays);
  m.def("mine_triplets", MineTripletsArrays);
  m.def("triplet_loss", TripletLossArrays);
  py::class_<Classes>(m, "Classes")
      .def(py::init([](const Array<int64_t>& labels) { return Classes(AsVector(labels)); }))
      .def_property_readonly("count", &Classes::count);
  m.def("sample_episodes", SampleEpisodesArray);
  m.def("gather_images", GatherImagesArray);
  m.def("multiply_add_rate", MultiplyAddRateOfPool);
  m.def("copy_rate", CopyRateOfPool);
}
