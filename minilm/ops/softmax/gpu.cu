// Softmax of the rows of a matrix (N, V), or with `logarithm` its logarithm.
//
// forward, version 1   A thread a row, as a CPU would do it. Neighbours read numbers V apart: a warp's load is 32 loads.
// forward, version 2   A block a row: neighbours read neighbours. Three passes over the row: largest number, sum, result.
// forward, version 3   The default. Largest number and sum in one pass, then one more to write: a third less memory traffic.
// backward             A block a row, two passes.
#include "minilm_cuda.h"
#include "online.h"

__device__ inline REAL softmax_of(REAL x, REAL m, REAL s, int logarithm) {
    return logarithm ? x - m - log(s) : exp(x - m) / s;
}

extern "C" __global__ void softmax_forward_1(
    const REAL* x,  // (N, V)
    REAL* y,        // (N, V)
    i64 N, i64 V, int logarithm) {
    i64 n = thread_of_grid();
    if (n >= N) return;
    const REAL* row = x + n * V;
    REAL m = row[0];
    for (i64 v = 1; v < V; ++v) m = larger(m, row[v]);
    REAL s = sum_of_exp(row, m, V);
    for (i64 v = 0; v < V; ++v) y[n * V + v] = softmax_of(row[v], m, s, logarithm);
}

extern "C" __global__ void softmax_forward_2(
    const REAL* x,  // (N, V)
    REAL* y,        // (N, V)
    i64 N, i64 V, int logarithm) {
    __shared__ REAL scratch[32];
    i64 n = blockIdx.x;
    const REAL* row = x + n * V;
    REAL m = -INFINITE, s = 0;
    for (i64 v = threadIdx.x; v < V; v += blockDim.x) m = larger(m, row[v]);
    m = block_max(m, scratch);
    for (i64 v = threadIdx.x; v < V; v += blockDim.x) s += exp(row[v] - m);
    s = block_sum(s, scratch);
    for (i64 v = threadIdx.x; v < V; v += blockDim.x) y[n * V + v] = softmax_of(row[v], m, s, logarithm);
}

extern "C" __global__ void softmax_forward_3(
    const REAL* x,  // (N, V)
    REAL* y,        // (N, V)
    i64 N, i64 V, int logarithm) {
    __shared__ REAL scratch[64];
    i64 n = blockIdx.x;
    const REAL* row = x + n * V;
    Online o = {-INFINITE, 0};
    for (i64 v = threadIdx.x; v < V; v += blockDim.x) o = with(o, row[v]);
    o = block_merge(o, scratch);
    for (i64 v = threadIdx.x; v < V; v += blockDim.x) y[n * V + v] = softmax_of(row[v], o.m, o.s, logarithm);
}

// dx = y (dy - sum dy y), or dy - exp(y) sum dy
extern "C" __global__ void softmax_backward(
    const REAL* dy,  // (N, V)
    const REAL* y,   // (N, V)
    REAL* dx,        // (N, V)
    i64 N, i64 V, int logarithm) {
    __shared__ REAL scratch[32];
    i64 row = blockIdx.x * V;
    REAL sum = 0;
    for (i64 v = row + threadIdx.x; v < row + V; v += blockDim.x) sum += logarithm ? dy[v] : dy[v] * y[v];
    sum = block_sum(sum, scratch);
    for (i64 v = row + threadIdx.x; v < row + V; v += blockDim.x)
        dx[v] = logarithm ? dy[v] - exp(y[v]) * sum : y[v] * (dy[v] - sum);
}
