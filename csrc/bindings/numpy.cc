// SPDX-License-Identifier: MIT
// The ops on NumPy arrays: convert, check, release the GIL, run. The public functions, with their
// documentation, are in fslcore/kernels.
#include <cxxabi.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
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

// The pool stays as it is if the system does not give so many threads.
void SetThreads(int threads) {
  std::shared_ptr<ThreadPool> pool;
  try {
    pool = std::make_shared<ThreadPool>(threads);
  } catch (const std::system_error& error) {
    throw std::runtime_error("threads must be as many as the system allows this process to start, received " +
                             std::to_string(threads) + ": " + error.code().message());
  }
  if (g_pool->process() != getpid()) new std::shared_ptr<ThreadPool>(g_pool);  // leaked on purpose
  g_pool = std::move(pool);
}

std::shared_ptr<ThreadPool> Pool() {
  if (g_pool->process() != getpid()) SetThreads(g_pool->threads());
  return g_pool;
}

// At the end of the process, Python ends a thread that asks for the GIL by unwinding its stack. That would
// release objects without the GIL, or abort the program, whose exit code would be lost: such a thread sleeps
// here until the process has ended. Python code asks for the GIL, and so do conversions of NumPy, which
// release it: all that may run either runs in here, and the body holds no object of its own.
template <class Body>
auto UntilTheEnd(const Body& body) {
  try {
    return body();
  } catch (const abi::__forced_unwind&) {
    for (;;) pause();
  }
}

// numpy.can_cast, for types of which only Python knows.
const py::object* g_can_cast = nullptr;

template <class Body>
auto WithoutGil(const Body& body) {
  class Released {
   public:
    Released() : state_(PyEval_SaveThread()) {}
    ~Released() {
      UntilTheEnd([this] { PyEval_RestoreThread(state_); });
    }
    Released(const Released&) = delete;
    Released& operator=(const Released&) = delete;

   private:
    PyThreadState* state_;
  };
  const Released released;
  return body();
}

void Require(const std::string& problem) {
  if (!problem.empty()) throw py::value_error(problem);
}

// ---- ops -------------------------------------------------------------------------------------------------

// Reads attributes from keyword arguments.
struct KeywordReader {
  const py::kwargs& keywords;
  size_t known = 0;  // of the keywords

  template <class Attributes>
  static Attributes Read(const py::kwargs& keywords) {
    Attributes attributes;
    KeywordReader reader = {keywords};
    attributes.Visit(reader);
    if (reader.known != keywords.size()) throw py::type_error("the op has no such attribute");
    return attributes;
  }

  template <class T, class... Allowed>
  void operator()(bindings::Key key, T& value, const Allowed&...) {
    if (key.optional && !keywords.contains(key.name)) return;
    ++known;
    const py::object given = keywords[key.name];
    if constexpr (std::is_enum_v<T>)
      Require(bindings::ReadName(key.name, given.cast<std::string>(), &value));
    else
      value = UntilTheEnd([&] { return given.cast<T>(); });
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

std::string TextOf(const py::handle& object) {
  return UntilTheEnd([&] { return py::str(object).cast<std::string>(); });
}

// numpy.can_cast(from, to, "same_kind"): whether no fraction and no imaginary part is lost.
bool CanCast(const py::dtype& from, const py::dtype& to) {
  constexpr std::string_view kKinds = "buif";  // each can be cast to those behind it
  const size_t kind = kKinds.find(from.kind());
  if (kind != kKinds.npos) return kind <= kKinds.find(to.kind());
  static const py::str& rule = *new py::str("same_kind");
  const auto answer = py::reinterpret_steal<py::object>(UntilTheEnd([&] {
    return PyObject_CallFunctionObjArgs(g_can_cast->ptr(), from.ptr(), to.ptr(), rule.ptr(), nullptr);
  }));
  if (!answer) throw py::error_already_set();
  return answer.cast<bool>();
}

// C-contiguous, of the type that the op takes. No conversion may lose a fraction, an imaginary part or a
// mask.
py::array AsArray(const py::handle& given, const bindings::Argument& argument) {
  return WithType(argument.type, [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    const auto object = py::reinterpret_borrow<py::object>(given);
    const bool is_number = std::is_floating_point_v<T>
                               ? PyFloat_CheckExact(given.ptr())
                               : std::is_signed_v<T> && PyLong_CheckExact(given.ptr());
    if (!is_number && !Array<T>::check_(given)) {
      const auto type = UntilTheEnd([&] { return py::array(object); }).dtype();
      const auto wanted = py::dtype::of<T>();
      if (!CanCast(type, wanted))
        throw py::value_error(std::string(argument.name) + " must be of a type that can be cast to " +
                              TextOf(wanted) + ", received " + TextOf(type));
    }
    return UntilTheEnd([&] { return Array<T>(object); });
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
  const auto attributes = KeywordReader::Read<typename O::Attributes>(keywords);
  const auto pool = Pool();
  bindings::CpuCall call;
  call.executor = pool->executor();
  std::vector<py::array> inputs;
  for (size_t i = 0; i < std::size(O::kInputs); ++i) {
    inputs.push_back(AsArray(arguments[i], O::kInputs[i]));
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
  Require(WithoutGil([&] { return O::Run(attributes, call); }));
  return outputs;
}

// ---- classes ---------------------------------------------------------------------------------------------

Classes ClassesOf(const Array<int64_t>& labels) {
  Require(labels.ndim() == 1 ? "" : "labels must have 1 axis");
  Require(labels.size() <= kMostPositions ? "" : "labels must hold fewer than 2^31 labels");
  return Classes(Vector<const int64_t>{labels.data(), labels.size()});
}

// `Classes.__new__(Classes)` makes an object without a value, to which pybind11 would give memory that nobody
// has written.
const Classes& Made(const py::object& classes) {
  if (!py::isinstance<Classes>(classes) ||
      !reinterpret_cast<py::detail::instance*>(classes.ptr())->get_value_and_holder().holder_constructed())
    throw py::type_error("classes must be made by group_labels");
  return classes.cast<const Classes&>();
}

// Labels whose classes are these: pickle keeps them.
Array<int64_t> LabelsOf(const py::object& object) {
  const Classes& classes = Made(object);
  Array<int64_t> labels(classes.labels());
  int64_t* data = labels.mutable_data();
  for (int64_t c = 0; c < classes.count(); ++c)
    for (const int32_t* member = classes.begin(c); member != classes.end(c); ++member) data[*member] = c;
  return labels;
}

// sample_episodes on labels that are grouped already.
py::tuple SampleEpisodesOf(const py::object& grouped, int64_t seed, int64_t first_episode,
                           const py::kwargs& keywords) {
  const Classes& classes = Made(grouped);
  const auto attributes = KeywordReader::Read<bindings::SampleEpisodesAttributes>(keywords);
  const EpisodeShape& shape = attributes.shape;
  Require(CheckEpisodes(classes, shape, attributes.episodes, seed, first_episode));
  Array<int32_t> out({attributes.episodes, shape.n_way, shape.samples()});
  int32_t* data = out.mutable_data();
  const auto pool = Pool();
  WithoutGil([&] {
    SampleEpisodes(pool->executor(), classes, shape, attributes.episodes, seed, first_episode, data);
  });
  return py::make_tuple(out);
}

// ---- rates -----------------------------------------------------------------------------------------------

double MultiplyAddRateOfPool() {
  const auto pool = Pool();
  return WithoutGil([&] { return MultiplyAddRate(pool->executor()); });
}

double CopyRateOfPool(int64_t bytes) {
  if (bytes < 1) throw py::value_error("bytes must be at least 1, received " + std::to_string(bytes));
  const auto pool = Pool();
  return WithoutGil([&] { return CopyRate(pool->executor(), bytes); });
}

}  // namespace
}  // namespace fslcore

PYBIND11_MODULE(_core, m) {
  using namespace fslcore;
  g_can_cast = new py::object(py::module_::import("numpy").attr("can_cast"));
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
      .def(py::init(&ClassesOf))
      .def(py::pickle(&LabelsOf, &ClassesOf))
      .def_property_readonly("count", [](const py::object& classes) { return Made(classes).count(); });
  m.def("sample_episodes_of", SampleEpisodesOf);
#define FSLCORE_DEFINE(Op, function) m.def(#function, RunOp<bindings::Op>);
  FSLCORE_NUMPY_OPS(FSLCORE_DEFINE)
#undef FSLCORE_DEFINE
  m.def("multiply_add_rate", MultiplyAddRateOfPool);
  m.def("copy_rate", CopyRateOfPool);
}
