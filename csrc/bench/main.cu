// SPDX-License-Identifier: MIT
// Checks the CUDA kernels against the core, repeats them, and times them against what the device can do at
// best. Built by one line, with nothing but the CUDA toolkit:
//
//   nvcc -O3 -std=c++17 -arch=native --expt-relaxed-constexpr -fmad=false -Xcompiler -ffp-contract=off
//     -DFSLCORE_PORTABLE -Icsrc csrc/bench/*.cu csrc/cuda/*.cu csrc/cuda/*/*.cu csrc/tests/cuda_*_test.cu
//     csrc/core/*/*.cc csrc/core/simd/levels/kernels_portable.cc -o cuda_bench
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "bench/cases.h"
#include "bench/repeats.h"
#include "bench/report.h"
#include "cuda/devices.h"
#include "cuda/pairwise/library_product.h"
#include "tests/cuda_check.h"
#include "tests/cuda_checks.h"

namespace fslcore::bench {
namespace {

constexpr int kNothingRun = 2;  // an exit code
constexpr int kRepeats = 250, kQuickRepeats = 25, kTimes = 51, kQuickTimes = 7;
constexpr const char* kHelp =
    "cuda_bench [--quick] [--json FILE]\n\n"
    "Checks the CUDA kernels against the C++ core, repeats each on one input, whose bits must not change,\n"
    "and times them: medians, with the second-level cache flushed before each run.\n\n"
    "  rate      operations or bytes, whichever take longer. Operations: 2 for a multiply-add, 2 for each\n"
    "            of the two instructions of a term of a sum of differences. Bytes: each input read once,\n"
    "            each output written once\n"
    "  of limit  what that would take at the measured rates of multiply-adds (8 times as many on tensor\n"
    "            cores in TF32, 16 times in bfloat16) and of copying, over the time that was measured\n"
    "  bar       the percentage that is aimed at\n\n"
    "  --quick      fewer repeats\n"
    "  --json FILE  everything as JSON, too\n"
    "  --help       this\n\n"
    "Exit code 0 if all checks pass, 1 if one fails, 2 if nothing could be run.\n";

struct Options {
  bool quick = false, help = false;
  std::string json, problem;
};

Options Parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--quick")
      options.quick = true;
    else if (argument == "--help")
      options.help = true;
    else if (argument == "--json" && i + 1 < count)
      options.json = arguments[++i];
    else
      options.problem =
          argument == "--json" ? "--json needs a file" : "there is no option " + std::string(argument);
  }
  return options;
}

std::vector<Check> RunChecks() {
  std::vector<Check> checks;
  for (const CudaCheck& check : kCudaChecks) {
    const int before = g_failures;
    check.run();
    Require(cudaDeviceSynchronize());
    checks.push_back({check.name, g_failures - before});
    Print(checks.back());
  }
  return checks;
}

std::vector<Repetition> RepeatAll(int repeats) {
  std::vector<Repetition> made;
  for (const auto& all : {PairwiseRepeats(), TripletRepeats(), EpisodeRepeats(), SearchRepeats()})
    for (const MakeRepeated& make : all) {
      made.push_back(Repeat(make(), repeats));
      Print(made.back());
    }
  return made;
}

double RivalMilliseconds(const Timer& timer, const Rival& rival) {
  const Buffer<float> x = RandomFloats(rival.rows * rival.dim, 1), out(rival.rows * rival.rows);
  const Buffer<char> workspace(cuda::kLibraryWorkspace);
  return timer.Milliseconds([&](cuda::Stream stream) {
    cuda::Launches launches(stream, "a product by cuBLAS");
    cuda::LibraryProduct(launches, rival.precision, x.rows(rival.dim), x.rows(rival.dim), workspace.get(),
                         out.get());
    return launches.problem();
  });
}

std::vector<Timing> TimeAll(const Timer& timer, const Limits& limits) {
  std::vector<Timing> timings;
  PrintTimingHead();
  for (const auto& all : {PairwiseCases(), TripletCases(), EpisodeCases(), SearchCases()})
    for (const MakeCase& make : all) {
      const Case made = make();
      Timing timing = {made.name, made.work, timer.Milliseconds(made.run), made.bar, std::nullopt};
      if (made.rival && !cuda::ProductLibrary().empty())
        timing.rival_milliseconds = RivalMilliseconds(timer, *made.rival);
      Print(timing, limits);
      timings.push_back(timing);
    }
  return timings;
}

int Main(const Options& options) {
  const cuda::Devices devices = cuda::FindDevices();
  if (devices.names.empty()) {
    std::printf("There is no GPU to check the kernels on%s%s.\n", devices.problem.empty() ? "" : ": ",
                devices.problem.c_str());
    return kNothingRun;
  }
  Report report;
  report.device = devices.names.front();
  report.runtime = cuda::RuntimeVersion();
  std::printf("%s, CUDA %s\n\nchecks against the core\n", report.device.c_str(), report.runtime.c_str());
  report.checks = RunChecks();

  std::printf("\nthe same bits each time\n");
  report.repetitions = RepeatAll(options.quick ? kQuickRepeats : kRepeats);

  const Timer timer(options.quick ? kQuickTimes : kTimes);
  std::printf("\nlimits\n");
  report.limits = MeasureLimits(timer);
  Print(report.limits);
  const std::string& library = cuda::ProductLibrary();
  report.rival = library.empty() ? "neither libcublas.so.13 nor libcublas.so.12 can be loaded" : library;
  std::printf("  compared with cuBLAS: %s\n\ntimes\n", report.rival.c_str());
  report.timings = TimeAll(timer, report.limits);

  if (!options.json.empty()) Require(WriteJson(report, options.json));
  std::printf("\n%s\n", report.passed() ? "all checks passed" : "checks FAILED");
  return report.passed() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace fslcore::bench

int main(int count, char** arguments) {
  using namespace fslcore::bench;
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // lines are seen as they come, through a pipe, too
  const Options options = Parse(count, arguments);
  if (options.help) {
    std::fputs(kHelp, stdout);
    return EXIT_SUCCESS;
  }
  if (!options.problem.empty()) {
    std::fprintf(stderr, "%s; see --help\n", options.problem.c_str());
    return kNothingRun;
  }
  return Main(options);
}
