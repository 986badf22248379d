// SPDX-License-Identifier: MIT
// What GPUs there are, and the one function that waits for them.
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
  std::string problem;  // why there is none, in a sentence
};
Devices FindDevices();

// Copies a number to the host, behind what the stream has to do still. For outputs whose size is in the data.
// Returns the sentence that says what went wrong, or nothing.
std::string Fetch(Stream stream, const int64_t* device, int64_t* host);

}  // namespace fslcore::cuda
