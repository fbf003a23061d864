// The affine map y = x Wᵀ + b, for rows x (N, I) and W (O, I). Versions 1 and 2 are for reading and measuring.
//
// forward, version 1   A thread an output, which reads a whole row of x and of W: 2 I numbers from memory for 2 I operations.
// forward, version 2   A block TILE x TILE outputs: x and W come by tiles into shared memory, and each number is used TILE times.
// forward, version 3   The default. cuBLAS, whose threads have many outputs each in registers; the bias is added in place after it.
// backward             Products by cuBLAS; the gradient by b is a sum over columns (minilm/ops/cuda/columns.cu).
#include "minilm_cuda.h"

extern "C" __global__ void add_bias(
    REAL* y,        // (N, O)
    const REAL* b,  // (O)
    i64 N, i64 O) {
    for (i64 n = thread_of_grid(); n < N * O; n += threads_of_grid()) y[n] += b[n % O];
}

extern "C" __global__ void linear_forward_1(
    const REAL* x,  // (N, I)
    const REAL* W,  // (O, I)
    REAL* y,        // (N, O)
    i64 N, i64 I, i64 O) {
    i64 n = blockIdx.y * TILE + threadIdx.y, o = blockIdx.x * TILE + threadIdx.x;
    if (n >= N || o >= O) return;
    REAL sum = 0;
    for (i64 i = 0; i < I; ++i) sum += x[n * I + i] * W[o * I + i];
    y[n * O + o] = sum;
}

extern "C" __global__ void linear_forward_2(
    const REAL* x,  // (N, I)
    const REAL* W,  // (O, I)
    REAL* y,        // (N, O)
    i64 N, i64 I, i64 O) {
    __shared__ REAL tile_x[TILE][TILE + 1], tile_W[TILE][TILE + 1];  // one more: reading a column meets every bank once
    int a = threadIdx.x, b = threadIdx.y;
    i64 n = blockIdx.y * TILE + b, o = blockIdx.x * TILE + a, row_W = blockIdx.x * TILE + b;
    REAL sum = 0;
    for (i64 i = 0; i < I; i += TILE) {
        tile_x[b][a] = n < N && i + a < I ? x[n * I + i + a] : REAL(0);
        tile_W[b][a] = row_W < O && i + a < I ? W[row_W * I + i + a] : REAL(0);
        __syncthreads();
        for (int k = 0; k < TILE; ++k) sum += tile_x[b][k] * tile_W[a][k];
        __syncthreads();
    }
    if (n < N && o < O) y[n * O + o] = sum;
}
