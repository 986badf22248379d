// SPDX-License-Identifier: MIT
#include <cstdio>
#include <fstream>
#include <sstream>

#include "bench/report.h"

namespace fslcore::bench {
namespace {

double PercentOfLimit(const Timing& t, const Limits& limits) {
  return 100 * FloorMilliseconds(t.work, limits) / t.milliseconds;
}

double GigaPerSecond(double count, double milliseconds) { return count / milliseconds * 1e-6; }

// Of what its limit is: operations or bytes.
double Rate(const Timing& t, const Limits& limits) {
  return GigaPerSecond(IsMemoryBound(t.work, limits) ? t.work.bytes : t.work.operations, t.milliseconds);
}

const char* RateUnit(const Timing& t, const Limits& limits) {
  return IsMemoryBound(t.work, limits) ? "GB/s" : "GFLOP/s";
}

std::string Format(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string Number(double value) { return Format("%.9g", value); }

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return quoted + "\"";
}

template <class Item, class Text>
std::string List(const std::vector<Item>& items, const Text& text) {
  std::string list;
  for (const Item& item : items) list += (list.empty() ? "\n    {" : ",\n    {") + text(item) + "}";
  return "[" + list + "\n  ]";
}

std::string Field(const char* name, const std::string& value) { return Quoted(name) + ": " + value; }

std::string TimingFields(const Timing& t, const Limits& limits) {
  return Field("name", Quoted(t.name)) + ", " + Field("ms", Number(t.milliseconds)) + ", " +
         Field("floor_ms", Number(FloorMilliseconds(t.work, limits))) + ", " +
         Field("rate", Number(Rate(t, limits))) + ", " + Field("unit", Quoted(RateUnit(t, limits))) + ", " +
         Field("percent_of_limit", Number(PercentOfLimit(t, limits))) + ", " +
         Field("bar_percent", t.bar > 0 ? Number(t.bar) : "null") + ", " +
         Field("cublas_ms", t.rival_milliseconds ? Number(*t.rival_milliseconds) : "null");
}

}  // namespace

bool Report::passed() const {
  for (const Check& check : checks)
    if (check.failures > 0) return false;
  for (const Repetition& repetition : repetitions)
    if (repetition.different > 0) return false;
  return true;
}

void Print(const Check& check) {
  std::printf("  %-66s %s\n", check.name.c_str(), check.failures ? "FAILED" : "passed");
}

void Print(const Repetition& r) {
  if (r.different == 0)
    std::printf("  %-66s %d equal\n", r.name.c_str(), r.repeats);
  else
    std::printf("  %-66s FAILED: %d of %d differ from the first\n", r.name.c_str(), r.different, r.repeats);
}

void Print(const Limits& limits) {
  std::printf("  float32 multiply-adds between registers %29.1f TFLOP/s\n", limits.operations * 1e-12);
  std::printf("  copying, bytes read and written %37.1f GB/s\n", limits.bytes * 1e-9);
}

void PrintTimingHead() {
  std::printf("  %-66s %10s %18s %8s %6s %10s\n", "", "ms", "rate", "of limit", "bar", "cuBLAS ms");
}

void Print(const Timing& t, const Limits& limits) {
  const std::string bar = t.bar > 0 ? Format("%.0f %%", t.bar) : "";
  const std::string rival = t.rival_milliseconds ? Format("%.4f", *t.rival_milliseconds) : "";
  std::printf("  %-66s %10.4f %10.0f %-7s %6.1f %% %6s %10s\n", t.name.c_str(), t.milliseconds,
              Rate(t, limits), RateUnit(t, limits), PercentOfLimit(t, limits), bar.c_str(), rival.c_str());
}

std::string WriteJson(const Report& report, const std::string& file) {
  std::ofstream out(file);
  out << "{\n  " << Field("device", Quoted(report.device)) << ",\n  " << Field("cuda", Quoted(report.runtime))
      << ",\n  " << Field("cublas", Quoted(report.rival)) << ",\n  "
      << Field("flops", Number(report.limits.operations)) << ",\n  "
      << Field("bytes_per_second", Number(report.limits.bytes)) << ",\n  "
      << Field("passed", report.passed() ? "true" : "false") << ",\n  "
      << Field("checks", List(report.checks,
                              [](const Check& c) {
                                return Field("name", Quoted(c.name)) + ", " +
                                       Field("failures", std::to_string(c.failures));
                              }))
      << ",\n  "
      << Field("repeats", List(report.repetitions,
                               [](const Repetition& r) {
                                 return Field("name", Quoted(r.name)) + ", " +
                                        Field("repeats", std::to_string(r.repeats)) + ", " +
                                        Field("different", std::to_string(r.different));
                               }))
      << ",\n  "
      << Field("timings",
               List(report.timings, [&](const Timing& t) { return TimingFields(t, report.limits); }))
      << "\n}\n";
  out.close();
  return out ? "" : "cannot write " + file;
}

}  // namespace fslcore::bench
