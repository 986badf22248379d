// SPDX-License-Identifier: MIT
#include <cuda_runtime.h>

#include "cuda/devices.h"

namespace fslcore::cuda {

std::string RuntimeVersion() {
  return std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
}

Devices FindDevices() {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess)
    return {{}, std::string("CUDA says: ") + cudaGetErrorString(error)};
  Devices devices;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) == cudaSuccess) devices.names.push_back(properties.name);
  }
  return devices;
}

std::string Fetch(Stream stream, const int64_t* device, int64_t* host) {
  cudaError_t error = cudaMemcpyAsync(host, device, sizeof *host, cudaMemcpyDeviceToHost, stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
  return error == cudaSuccess ? "" : std::string("a copy from the GPU: ") + cudaGetErrorString(error);
}

}  // namespace fslcore::cuda
