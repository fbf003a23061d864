// The affine map: cuBLAS has the product, and this adds the bias in place. A product by hand stands beside it, to be read and to be
// measured against: version 1 one thread an output, version 2 tiles in shared memory.
#include "minilm_cuda.h"

extern "C" __global__ void add_bias(
    REAL* y,        // (N, O)
    const REAL* b,  // (O)
    i64 N, i64 O) {
    for (i64 n = thread_of_grid(); n < N * O; n += threads_of_grid()) y[n] += b[n % O];
}

// Every thread reads a whole row of x and of W: 2 I numbers from memory for one output.
extern "C" __global__ void linear_forward_1(
    const REAL* x,  // (N, I)
    const REAL* W,  // (O, I)
    REAL* y,        // (N, O)
    i64 N, i64 I, i64 O) {
    i64 n = blockIdx.y * 16 + threadIdx.y, o = blockIdx.x * 16 + threadIdx.x;
    if (n >= N || o >= O) return;
    REAL sum = 0;
    for (i64 i = 0; i < I; ++i) sum += x[n * I + i] * W[o * I + i];
    y[n * O + o] = sum;
}

// A block has 16 x 16 outputs; what it reads of x and W comes by tiles into shared memory, and every number of a tile is used 16 times.
extern "C" __global__ void linear_forward_2(
    const REAL* x,  // (N, I)
    const REAL* W,  // (O, I)
    REAL* y,        // (N, O)
    i64 N, i64 I, i64 O) {
    __shared__ REAL tile_x[16][17], tile_W[16][17];  // 17: reading a column meets every bank once
    int a = threadIdx.x, b = threadIdx.y;
    i64 n = blockIdx.y * 16 + b, o = blockIdx.x * 16 + a, row_W = blockIdx.x * 16 + b;
    REAL sum = 0;
    for (i64 i = 0; i < I; i += 16) {
        tile_x[b][a] = n < N && i + a < I ? x[n * I + i + a] : REAL(0);
        tile_W[b][a] = row_W < O && i + a < I ? W[row_W * I + i + a] : REAL(0);
        __syncthreads();
        for (int k = 0; k < 16; ++k) sum += tile_x[b][k] * tile_W[a][k];
        __syncthreads();
    }
    if (n < N && o < O) y[n * O + o] = sum;
}
