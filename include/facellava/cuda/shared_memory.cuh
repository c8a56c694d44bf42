// A block's shared memory. The only header that says __shared__, so that the tests' emulation can replace it.
#pragma once
#include <cuda_runtime.h>

namespace facellava::cuda {

// The bytes that the launch asked for, 16-byte aligned, uninitialised.
template <class T>
__device__ inline T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
}

// N elements, one array per Tag (any named type); uninitialised.
template <class Tag, class T, int N>
__device__ inline T* shared_array() {
  __shared__ T array[N];
  return array;
}

}  // namespace facellava::cuda
