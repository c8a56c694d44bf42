# The CUDA device, optional. Include at the top level of a project, after facellava's targets exist.
#   FACELLAVA_CUDA          AUTO (where nvcc is found), ON (required), OFF
#   FACELLAVA_CUDA_FOUND    whether the CUDA device can be built here
#   facellava_add_cuda(<target>)   gives a target the definitions of cuda::Device, compiled once a build by nvcc, and the
#                                  CUDA libraries they need
# Device code depends on no model: models themselves are compiled by the host compiler alone.
# Architectures: CMAKE_CUDA_ARCHITECTURES, else sm_80 and sm_90.
set(FACELLAVA_CUDA AUTO CACHE STRING "Build the CUDA device: AUTO, ON or OFF")
set_property(CACHE FACELLAVA_CUDA PROPERTY STRINGS AUTO ON OFF)
set(FACELLAVA_CUDA_FOUND FALSE)

if(FACELLAVA_CUDA STREQUAL "AUTO" OR FACELLAVA_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
      set(CMAKE_CUDA_ARCHITECTURES 80 90)
    endif()
    enable_language(CUDA)
    find_package(CUDAToolkit QUIET)
  endif()
  if(CMAKE_CUDA_COMPILER AND TARGET CUDA::cudart AND TARGET CUDA::cublasLt)
    set(FACELLAVA_CUDA_FOUND TRUE)
    message(STATUS "facellava: the CUDA device is built for architectures ${CMAKE_CUDA_ARCHITECTURES}")
  else()
    set(facellava_cuda_reason "no CUDA compiler (nvcc) was found")
    if(CMAKE_CUDA_COMPILER)
      set(facellava_cuda_reason "nvcc was found, but the libraries cudart and cublasLt were not")
    endif()
    if(FACELLAVA_CUDA STREQUAL "AUTO")
      message(STATUS "facellava: the CUDA device is skipped, ${facellava_cuda_reason}")
    else()
      message(FATAL_ERROR "facellava: FACELLAVA_CUDA is ${FACELLAVA_CUDA}, but ${facellava_cuda_reason}")
    endif()
  endif()
else()
  message(STATUS "facellava: the CUDA device is skipped, FACELLAVA_CUDA is ${FACELLAVA_CUDA}")
endif()

function(facellava_add_cuda target)
  if(NOT FACELLAVA_CUDA_FOUND)
    message(FATAL_ERROR "facellava_add_cuda(${target}): the CUDA device cannot be built here; ask FACELLAVA_CUDA_FOUND first")
  endif()
  if(NOT TARGET facellava_cuda_definitions)
    set(source "${CMAKE_CURRENT_BINARY_DIR}/facellava_cuda_definitions.cu")
    file(CONFIGURE OUTPUT "${source}" CONTENT "#include \"facellava/cuda/definitions.cuh\"\n" @ONLY)
    add_library(facellava_cuda_definitions STATIC "${source}")
    # CMake 3.25 does not know that nvcc speaks C++20: the option stands here, and no CUDA_STANDARD beside it.
    set_property(TARGET facellava_cuda_definitions PROPERTY CUDA_STANDARD)
    target_compile_options(facellava_cuda_definitions PRIVATE -std=c++20)
    set_target_properties(facellava_cuda_definitions PROPERTIES CUDA_RUNTIME_LIBRARY Shared POSITION_INDEPENDENT_CODE ON)
    target_include_directories(facellava_cuda_definitions
                               PRIVATE $<TARGET_PROPERTY:facellava::core,INTERFACE_INCLUDE_DIRECTORIES>)
    target_link_libraries(facellava_cuda_definitions PUBLIC CUDA::cudart CUDA::cublasLt)
  endif()
  target_link_libraries(${target} PRIVATE facellava_cuda_definitions)
endfunction()
