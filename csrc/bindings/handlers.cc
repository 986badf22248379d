// SPDX-License-Identifier: MIT
// The XLA FFI handlers. A front end like JAX passes whatever its user wrote, so types and sizes of all
// arguments and results are checked here. A GPU does not let their values be checked without waiting for it.
// No CUDA header is needed.
#include "bindings/handlers.h"

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/ops.h"
#include "xla/ffi/api/ffi.h"

namespace fslcore::bindings {
namespace {

namespace ffi = xla::ffi;

// ---- attributes ------------------------------------------------------------------------------------------

class DictionaryReader {
 public:
  explicit DictionaryReader(const ffi::Dictionary& dictionary) : dictionary_(dictionary) {}

  template <class T, class... Allowed>
  void operator()(Key key, T& value, const Allowed&...) {
    if (!problem_.empty() || (key.optional && !dictionary_.contains(key.name))) return;
    if constexpr (std::is_enum_v<T>) {
      std::string_view name;
      Get(key.name, name);
      if (problem_.empty()) problem_ = ReadName(key.name, name, &value);
    } else {
      Get(key.name, value);
    }
  }
  const std::string& problem() const { return problem_; }

 private:
  template <class T>
  void Get(const char* name, T& value) {
    const auto found = dictionary_.get<T>(name);
    if (found.has_value())
      value = *found;
    else
      problem_ =
          "the attribute " + std::string(name) + " is missing or of another type: " + found.error().message();
  }

  const ffi::Dictionary& dictionary_;
  std::string problem_;
};

// ---- arguments and results -------------------------------------------------------------------------------

// In the order of Type.
constexpr ffi::DataType kTypes[] = {ffi::F32, ffi::S32, ffi::S64, ffi::U8};
constexpr const char* kTypeNames[] = {"float32", "int32", "int64", "uint8"};

Sizes SizesOf(const ffi::AnyBuffer& buffer) {
  return {buffer.dimensions().begin(), buffer.dimensions().end()};
}

std::string CheckType(const std::string& name, Type type, const ffi::AnyBuffer& buffer) {
  const auto index = static_cast<size_t>(type);
  if (buffer.element_type() == kTypes[index]) return "";
  return name + " must hold " + kTypeNames[index] + ", received another type";
}

std::string CheckCount(const char* what, size_t received, size_t expected) {
  if (received == expected) return "";
  return "the op has " + std::to_string(expected) + " " + what + ", received " + std::to_string(received);
}

template <class O>
inline constexpr bool kTakesLists = O::kInputs[0].list != nullptr;

// A call whose inputs and outputs have passed all checks of types and sizes, and what the platforms add.
template <class O>
struct Received {
  typename O::Attributes attributes;
  const int32_t* rows = nullptr;  // of an op with kRows
  int32_t* count = nullptr;       // of an op that counts
};

// Fills both; returns an error message, empty if all is well.
template <class O>
std::string Receive(ffi::RemainingArgs args, ffi::RemainingRets rets, const ffi::Dictionary& dictionary,
                    Received<O>* received, Call* call) {
  DictionaryReader reader(dictionary);
  received->attributes.Visit(reader);
  if (!reader.problem().empty()) return reader.problem();

  std::vector<ffi::AnyBuffer> inputs, outputs;
  for (size_t i = 0; i < args.size(); ++i) inputs.push_back(*args.get<ffi::AnyBuffer>(i));
  for (size_t i = 0; i < rets.size(); ++i) outputs.push_back(**rets.get<ffi::AnyBuffer>(i));

  std::string problem;
  constexpr bool kHasRows = O::kRows >= 0;
  if constexpr (!kTakesLists<O>)
    problem = CheckCount("inputs", inputs.size(), std::size(O::kInputs) + (kHasRows ? 1 : 0));
  if (!problem.empty()) return problem;
  if constexpr (kHasRows) {
    problem = FirstOf(
        {CheckType("rows", Type::kInt32, inputs.back()), CheckSizes("rows", SizesOf(inputs.back()), {})});
    received->rows = static_cast<const int32_t*>(inputs.back().untyped_data());
    inputs.pop_back();
  }
  for (size_t i = 0; i < inputs.size() && problem.empty(); ++i) {
    problem = CheckType(NameAt(O::kInputs, i), ArgumentAt(O::kInputs, i).type, inputs[i]);
    call->input_shapes.push_back(SizesOf(inputs[i]));
    call->inputs.push_back(inputs[i].untyped_data());
  }
  if (problem.empty()) problem = CheckCall<O>(received->attributes, call->input_shapes, &call->output_shapes);
  if (problem.empty()) problem = CheckInXla<O>(call->input_shapes, call->output_shapes);
  if (problem.empty())
    problem = CheckCount("results", outputs.size(), call->output_shapes.size() + (O::kCounts ? 1 : 0));
  if (!problem.empty()) return problem;

  if constexpr (O::kCounts) {
    problem = FirstOf({CheckType("the count", Type::kInt32, outputs.back()),
                       CheckSizes("the count", SizesOf(outputs.back()), {})});
    received->count = static_cast<int32_t*>(outputs.back().untyped_data());
    outputs.pop_back();
  }
  for (size_t i = 0; i < outputs.size() && problem.empty(); ++i) {
    const std::string name = "the result " + NameAt(O::kOutputs, i);
    problem = FirstOf({CheckType(name, ArgumentAt(O::kOutputs, i).type, outputs[i]),
                       CheckSizes(name, SizesOf(outputs[i]), call->output_shapes[i])});
    call->outputs.push_back(outputs[i].untyped_data());
  }
  return problem;
}

ffi::Error Invalid(const std::string& problem) {
  return problem.empty() ? ffi::Error::Success() : ffi::Error::InvalidArgument(problem);
}

ffi::Error Thrown(bool exhausted, const std::string& problem) {
  return ffi::Error(exhausted ? ffi::ErrorCode::kResourceExhausted : ffi::ErrorCode::kInternal, problem);
}

// ---- platforms -------------------------------------------------------------------------------------------

template <class O>
ffi::Error RunOnCpu(ffi::ThreadPool& pool, ffi::RemainingArgs args, ffi::RemainingRets rets,
                    const ffi::Dictionary& dictionary) {
  Received<O> received;
  CpuCall call;
  call.executor = {static_cast<int>(pool.num_threads()),
                   [&pool](std::function<void()> task) { pool.Schedule(std::move(task)); }};
  const std::string problem = Receive<O>(args, rets, dictionary, &received, &call);
  if (!problem.empty()) return Invalid(problem);
  if constexpr (O::kRows >= 0) {
    const int64_t batch = call.input_shapes[O::kRows][0];
    call.rows = *received.rows;
    if (call.rows < 0 || call.rows > batch)
      return Invalid("rows must be from 0 to " + std::to_string(batch) + ", received " +
                     std::to_string(call.rows));
  }
  if constexpr (O::kCounts) {
    for (size_t i = 0; i < call.outputs.size(); ++i)
      std::fill_n(call.out<int32_t>(i), ElementsOf(call.output_shapes[i]), 0);
    *received.count = static_cast<int32_t>(O::Count(received.attributes, call));
  }
  return Invalid(O::Run(received.attributes, call));
}

template <class O>
ffi::Error OnCpu(ffi::ThreadPool pool, ffi::RemainingArgs args, ffi::RemainingRets rets,
                 ffi::Dictionary dictionary) {
  return Caught([&] { return RunOnCpu<O>(pool, args, rets, dictionary); }, Thrown);
}

#define FSLCORE_HANDLER(Op, function)      \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(           \
      fslcore_##function##_cpu, OnCpu<Op>, \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().RemainingArgs().RemainingRets().Attrs());
FSLCORE_XLA_OPS(FSLCORE_HANDLER)
#undef FSLCORE_HANDLER

#ifdef FSLCORE_WITH_CUDA

template <class O>
ffi::Error RunOnGpu(cuda::Stream stream, ffi::ScratchAllocator& scratch, ffi::RemainingArgs args,
                    ffi::RemainingRets rets, const ffi::Dictionary& dictionary) {
  Received<O> received;
  GpuCall call;
  call.stream = stream;
  std::string problem = Receive<O>(args, rets, dictionary, &received, &call);
  if (!problem.empty()) return Invalid(problem);
  call.rows = received.rows;
  call.written = received.count;
  if (const int64_t bytes = O::Workspace(received.attributes, call); bytes > 0) {
    const auto allocated = scratch.Allocate(static_cast<size_t>(bytes), 256);
    if (!allocated)
      return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                        "no room for a workspace of " + std::to_string(bytes) + " bytes on the GPU");
    call.workspace = *allocated;
  }
  problem = O::Run(received.attributes, call);
  return problem.empty() ? ffi::Error::Success() : ffi::Error::Internal(problem);
}

template <class O>
ffi::Error OnGpu(cuda::Stream stream, ffi::ScratchAllocator scratch, ffi::RemainingArgs args,
                 ffi::RemainingRets rets, ffi::Dictionary dictionary) {
  return Caught([&] { return RunOnGpu<O>(stream, scratch, args, rets, dictionary); }, Thrown);
}

#define FSLCORE_HANDLER(Op, function)                                         \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(fslcore_##function##_cuda, OnGpu<Op>,         \
                                ffi::Ffi::Bind()                              \
                                    .Ctx<ffi::PlatformStream<cuda::Stream>>() \
                                    .Ctx<ffi::ScratchAllocator>()             \
                                    .RemainingArgs()                          \
                                    .RemainingRets()                          \
                                    .Attrs());
FSLCORE_GPU_OPS(FSLCORE_HANDLER)
#undef FSLCORE_HANDLER

#endif

}  // namespace
}  // namespace fslcore::bindings
