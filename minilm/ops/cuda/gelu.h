// What the approximation of GELU by tanh takes: activations and gated.
#pragma once

#define ROOT REAL(0.79788456080286535588)  // sqrt(2 / pi)
__device__ inline REAL tanh_argument(REAL x) { return ROOT * (x + REAL(0.044715) * x * x * x); }
