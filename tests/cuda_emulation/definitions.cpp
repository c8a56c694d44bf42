// The library's CUDA definitions, compiled for the emulator instead of by nvcc.
#include "facellava/cuda/definitions.cuh"
