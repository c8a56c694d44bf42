// FACELLAVA_HOST_DEVICE marks a function that CUDA kernels may call too. No other header asks which compiler reads it.
#pragma once

#ifdef __CUDACC__
#define FACELLAVA_HOST_DEVICE __host__ __device__
#else
#define FACELLAVA_HOST_DEVICE
#endif
