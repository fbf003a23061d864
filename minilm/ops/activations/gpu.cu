// Activations. One version, a thread a number, at the speed of memory; the formulas are those of spec.py.
#include "minilm_cuda.h"
#include "gates.h"
#include "gelu.h"

// 1 + erf(a) = erfc(-a) keeps its digits in the lower tail
__device__ inline REAL normal_cdf(REAL x) { return erfc(-x * REAL(0.70710678118654752440)) / 2; }

extern "C" __global__ void sigmoid_forward(
    const REAL* x,  // (N)
    REAL* y,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        y[n] = sigmoid(x[n]);
    }
}

extern "C" __global__ void sigmoid_backward(
    const REAL* dy,  // (N)
    const REAL* y,   // (N)
    REAL* dx,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        dx[n] = dy[n] * y[n] * (1 - y[n]);
    }
}

extern "C" __global__ void tanh_forward(
    const REAL* x,  // (N)
    REAL* y,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        y[n] = tanh(x[n]);
    }
}

extern "C" __global__ void tanh_backward(
    const REAL* dy,  // (N)
    const REAL* y,   // (N)
    REAL* dx,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        dx[n] = dy[n] * (1 - y[n] * y[n]);
    }
}

extern "C" __global__ void relu_forward(
    const REAL* x,  // (N)
    REAL* y,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        y[n] = x[n] < 0 ? REAL(0) : x[n];  // a NaN stays one
    }
}

extern "C" __global__ void relu_backward(
    const REAL* dy,  // (N)
    const REAL* y,   // (N)
    REAL* dx,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        dx[n] = y[n] <= 0 ? REAL(0) : dy[n];
    }
}

extern "C" __global__ void silu_forward(
    const REAL* x,  // (N)
    REAL* y,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        y[n] = x[n] * sigmoid(x[n]);
    }
}

extern "C" __global__ void silu_backward(
    const REAL* dy,  // (N)
    const REAL* x,   // (N)
    REAL* dx,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL s = sigmoid(x[n]);
        dx[n] = dy[n] * (s + x[n] * s * (1 - s));
    }
}

extern "C" __global__ void gelu_erf_forward(
    const REAL* x,  // (N)
    REAL* y,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        y[n] = x[n] * normal_cdf(x[n]);
    }
}

extern "C" __global__ void gelu_erf_backward(
    const REAL* dy,  // (N)
    const REAL* x,   // (N)
    REAL* dx,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL density = exp(-x[n] * x[n] / 2) * REAL(0.39894228040143267794);  // 1 / sqrt(2 pi)
        dx[n] = dy[n] * (normal_cdf(x[n]) + x[n] * density);
    }
}

extern "C" __global__ void gelu_tanh_forward(
    const REAL* x,  // (N)
    REAL* y,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        y[n] = x[n] * (1 + tanh(tanh_argument(x[n]))) / 2;
    }
}

extern "C" __global__ void gelu_tanh_backward(
    const REAL* dy,  // (N)
    const REAL* x,   // (N)
    REAL* dx,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL t = tanh(tanh_argument(x[n]));
        REAL du = ROOT * (1 + REAL(3 * 0.044715) * x[n] * x[n]);
        dx[n] = dy[n] * ((1 + t) / 2 + x[n] * (1 - t * t) * du / 2);
    }
}
