// Gated activations: one version, a thread an element; two numbers are read and one is written, and that is all it could do.
#include "minilm_cuda.h"
#include "gates.h"
#include "gelu.h"

extern "C" __global__ void swiglu_forward(
    const REAL* a,  // (N)
    const REAL* b,  // (N)
    REAL* y,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        y[n] = a[n] * sigmoid(a[n]) * b[n];
    }
}

extern "C" __global__ void swiglu_backward(
    const REAL* dy,  // (N)
    const REAL* a,   // (N)
    const REAL* b,   // (N)
    REAL* da,        // (N)
    REAL* db,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL s = sigmoid(a[n]);
        da[n] = dy[n] * b[n] * (s + a[n] * s * (1 - s));
        db[n] = dy[n] * (a[n] * s);
    }
}

extern "C" __global__ void geglu_forward(
    const REAL* a,  // (N)
    const REAL* b,  // (N)
    REAL* y,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        y[n] = a[n] * (1 + tanh(tanh_argument(a[n]))) / 2 * b[n];
    }
}

extern "C" __global__ void geglu_backward(
    const REAL* dy,  // (N)
    const REAL* a,   // (N)
    const REAL* b,   // (N)
    REAL* da,        // (N)
    REAL* db,        // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL t = tanh(tanh_argument(a[n]));
        REAL du = ROOT * (1 + REAL(3 * 0.044715) * a[n] * a[n]);
        da[n] = dy[n] * b[n] * ((1 + t) / 2 + a[n] * (1 - t * t) * du / 2);
        db[n] = dy[n] * (a[n] * (1 + t) / 2);
    }
}
