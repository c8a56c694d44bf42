// What host.cpp needs of the library: its headers, or the one that cmake/single_header.py makes of them.
#pragma once
#ifdef HOST_SINGLE_HEADER
#include "facellava.hpp"
#else
#include "facellava/cpu/device.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/run/pipeline.hpp"
#endif
