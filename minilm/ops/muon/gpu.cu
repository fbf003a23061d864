// Muon: what stands around its products of matrices, which cuBLAS computes. One version of each, in one pass over memory.
#include "minilm_cuda.h"

// The running mean of gradients, and the matrix G that is made orthogonal. `scale` and `step` lie on the device, see sgd; where
// `scale` is not finite nothing is changed.
extern "C" __global__ void muon_direction(
    const REAL* grad,       // (N)
    REAL* momentum_buffer,  // (N)
    REAL* G,                // (N)
    const REAL* scale,      // (1)
    const i64* step,        // (1)
    i64 N, REAL momentum, REAL one_minus_momentum, int nesterov) {
    REAL factor = *scale;
    bool first = *step == 1, changes = isfinite(factor);
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL g = factor * grad[n], mean = momentum * (first ? REAL(0) : momentum_buffer[n]) + one_minus_momentum * g;
        if (changes) momentum_buffer[n] = mean;
        G[n] = nesterov ? one_minus_momentum * g + momentum * mean : mean;
    }
}

// 1 / max(the root of the sum of squares, eps), by one block
extern "C" __global__ void muon_norm(
    const REAL* G,  // (N)
    REAL* inverse,  // (1)
    i64 N, REAL eps) {
    __shared__ double scratch[32];
    double sum = 0;
    for (i64 n = threadIdx.x; n < N; n += blockDim.x) sum += double(G[n]) * double(G[n]);
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) inverse[0] = 1 / larger(REAL(sqrt(sum)), eps);
}

extern "C" __global__ void muon_scaled(
    REAL* x,              // (N)
    const REAL* inverse,  // (1)
    i64 N) {
    REAL by = *inverse;
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) x[n] *= by;
}

// x = a x + b y
extern "C" __global__ void muon_combine(
    REAL* x,        // (N)
    const REAL* y,  // (N)
    i64 N, REAL a, REAL b) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) x[n] = a * x[n] + b * y[n];
}

extern "C" __global__ void muon_apply(
    REAL* param,        // (N)
    REAL* grad,         // (N)
    const REAL* u,      // (N)
    const REAL* scale,  // (1)
    const REAL* lr,     // (1)
    i64 N, REAL size, REAL weight_decay, int clear) {
    REAL eta = *lr;
    if (!isfinite(*scale)) return;
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL p = param[n];
        param[n] = p - eta * (weight_decay * (fabs(p) == INFINITE ? REAL(0) : p) + size * u[n]);
        if (clear) grad[n] = 0;
    }
}
