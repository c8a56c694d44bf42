// The table of kernels that one instruction set fills for convolutional nets; cpu::ImageOps calls nothing else, and a
// program that runs no such net has none of them.
#pragma once
#include "facellava/core/image_ops.hpp"

namespace facellava::cpu {

// Windows over pixels that lie one behind the other in y, [pixels, channels], and `step` floats apart in x. Of every
// window, rows × columns taps lie inside the picture; a row of taps is one run of x.
struct Run {
  float* y;
  const float* x;
  Index ldx, step;  // floats from row to row of x, from window to window
  Index rows, columns, pixels;
  Index in, out;          // channels; equal but for convolutions
  const float* w;         // of the first tap: [columns · in, out], or [columns, out]
  Index ldk, ldw;         // floats from row to row of these, and from row to row of taps
  const float* bias;      // [out]
  const float* residual;  // [pixels, out], or null
  const float* slope;     // [out], of a PReLU behind it; null: none
};

struct ImageKernels {
  void (*convolve)(const Run&);   // y = prelu(bias + Σ x w + residual), taps ascending
  void (*depthwise)(const Run&);  // y = bias + Σ x w, channel by channel
  void (*maximum)(const Run&);
  // y = x + b, or x where b is null, then PReLU unless slope is null; pixels of n channels. y may be x or b.
  void (*add_prelu)(float* y, const float* x, const float* b, const float* slope, Index pixels, Index n);
  void (*colours)(float* y, Index points, Index row, const ColourGrid&);  // of one row of the grid
};

}  // namespace facellava::cpu
