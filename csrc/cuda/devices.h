// SPDX-License-Identifier: MIT
// The GPUs of this machine, and the one function that waits for them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/stream.h"

namespace fslcore::cuda {

// The version of the runtime that the kernels were built with, "13.0".
std::string RuntimeVersion();

struct Devices {
  std::vector<std::string> names;
  std::string problem;  // an error message if there is none
};
Devices FindDevices();

// Copies a number to the host after all work on the stream, and waits for it. For outputs whose size depends
// on the data. Returns an error message, or an empty string.
std::string Fetch(Stream stream, const int64_t* device, int64_t* host);

}  // namespace fslcore::cuda
