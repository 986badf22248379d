// SPDX-License-Identifier: MIT
// The ops on NumPy arrays: convert, check, release the GIL, run. The public functions, with their
// documentation, are in fslcore/kernels.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings/ops.h"
#include "bindings/thread_pool.h"
#include "core/simd/cpu_level.h"
#include "core/simd/limits.h"
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

// ---- ops -------------------------------------------------------------------------------------------------

// Reads attributes from keyword arguments.
struct KeywordReader {
  const py::kwargs& keywords;

  template <class T, class... Allowed>
  void operator()(bindings::Key key, T& value, const Allowed&...) {
    if (key.optional && !keywords.contains(key.name)) return;
    const py::object given = keywords[key.name];
    if constexpr (std::is_enum_v<T>)
      Require(bindings::ReadName(key.name, given.cast<std::string>(), &value));
    else
      value = given.cast<T>();
  }
};

// Calls body with a null pointer of the type.
template <class Body>
py::array WithType(bindings::Type type, const Body& body) {
  if (type == bindings::Type::kFloat32) return body(static_cast<float*>(nullptr));
  if (type == bindings::Type::kInt32) return body(static_cast<int32_t*>(nullptr));
  if (type == bindings::Type::kInt64) return body(static_cast<int64_t*>(nullptr));
  return body(static_cast<uint8_t*>(nullptr));
}

// C-contiguous, of the type that the op takes.
py::array AsArray(const py::handle& given, bindings::Type type) {
  return WithType(type, [&](auto* null) {
    return Array<std::remove_pointer_t<decltype(null)>>(py::reinterpret_borrow<py::object>(given));
  });
}

py::array NewArray(const Sizes& sizes, bindings::Type type) {
  return WithType(type, [&](auto* null) { return Array<std::remove_pointer_t<decltype(null)>>(sizes); });
}

// Arrays in, a tuple of new arrays out.
template <class O>
py::tuple RunOp(const py::args& arguments, const py::kwargs& keywords) {
  if (arguments.size() != std::size(O::kInputs))
    throw py::type_error("the op takes " + std::to_string(std::size(O::kInputs)) + " arrays");
  typename O::Attributes attributes;
  KeywordReader reader = {keywords};
  attributes.Visit(reader);

  const auto pool = Pool();
  bindings::CpuCall call;
  call.executor = pool->executor();
  std::vector<py::array> inputs;
  for (size_t i = 0; i < std::size(O::kInputs); ++i) {
    inputs.push_back(AsArray(arguments[i], O::kInputs[i].type));
    call.input_shapes.emplace_back(inputs[i].shape(), inputs[i].shape() + inputs[i].ndim());
    call.inputs.push_back(inputs[i].data());
  }
  Require(bindings::CheckCall<O>(attributes, call.input_shapes, &call.output_shapes));
  if constexpr (O::kRows >= 0) call.rows = call.input_shapes[O::kRows][0];
  if constexpr (O::kCounts) {
    const int64_t count = O::Count(attributes, call);
    for (Sizes& sizes : call.output_shapes) sizes[0] = count;
  }
  py::tuple outputs(call.output_shapes.size());
  for (size_t i = 0; i < call.output_shapes.size(); ++i) {
    py::array output = NewArray(call.output_shapes[i], O::kOutputs[i].type);
    call.outputs.push_back(output.mutable_data());
    outputs[i] = std::move(output);
  }
  std::string problem;
  {
    py::gil_scoped_release release;
    problem = O::Run(attributes, call);
  }
  Require(problem);
  return outputs;
}

// The same op on labels that are grouped already.
py::tuple SampleEpisodesOf(const Classes& classes, int64_t seed, int64_t first_episode,
                           const py::kwargs& keywords) {
  bindings::SampleEpisodesAttributes attributes;
  KeywordReader reader = {keywords};
  attributes.Visit(reader);
  const EpisodeShape& shape = attributes.shape;
  Require(CheckEpisodes(classes, shape, attributes.episodes, seed, first_episode));
  Array<int32_t> out({attributes.episodes, shape.n_way, shape.samples()});
  int32_t* data = out.mutable_data();
  const auto pool = Pool();
  {
    py::gil_scoped_release release;
    SampleEpisodes(pool->executor(), classes, shape, attributes.episodes, seed, first_episode, data);
  }
  return py::make_tuple(out);
}

// ---- rates -----------------------------------------------------------------------------------------------

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
  m.attr("minings") = py::tuple(py::cast(std::vector<std::string>(kMiningNames.begin(), kMiningNames.end())));
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
  py::class_<Classes>(m, "Classes")
      .def(py::init([](const Array<int64_t>& labels) {
        return Classes(Vector<const int64_t>{labels.data(), labels.size()});
      }))
      .def_property_readonly("count", &Classes::count);
  m.def("sample_episodes", SampleEpisodesOf);  // tried before the one below
#define FSLCORE_DEFINE(Op, function) m.def(#function, RunOp<bindings::Op>);
  FSLCORE_NUMPY_OPS(FSLCORE_DEFINE)
#undef FSLCORE_DEFINE
  m.def("multiply_add_rate", MultiplyAddRateOfPool);
  m.def("copy_rate", CopyRateOfPool);
}
