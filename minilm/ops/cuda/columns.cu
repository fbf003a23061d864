// Sums over the rows of a matrix, a number a column: gradients of biases, and of gamma and beta.
//
// In two passes, and so with additions in an order that does not depend on which block runs first: atomicAdd would give other
// bits on every run.
#include "minilm_cuda.h"

// Block (c, r): columns from COLUMNS c on, rows [r R, (r + 1) R); thread (x, y) adds every LINES-th row of column x.
extern "C" __global__ void column_sums_of_parts(
    const REAL* x,  // (N, D)
    REAL* part,     // (P, D)
    i64 N, i64 D, i64 P, i64 R) {
    __shared__ REAL sums[LINES][COLUMNS + 1];
    i64 column = COLUMNS * i64(blockIdx.x) + threadIdx.x;
    i64 first = i64(blockIdx.y) * R, last = min(first + R, N);
    REAL sum = 0;
    if (column < D)
        for (i64 n = first + threadIdx.y; n < last; n += LINES) sum += x[n * D + column];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < D) {
        for (int y = 1; y < LINES; ++y) sum += sums[y][threadIdx.x];
        part[blockIdx.y * D + column] = sum;
    }
}

extern "C" __global__ void column_sums(
    const REAL* part,  // (P, D)
    REAL* sum,         // (D)
    i64 D, i64 P) {
    for (i64 d = thread_of_grid(); d < D; d += threads_of_grid()) {
        REAL s = 0;
        for (i64 p = 0; p < P; ++p) s += part[p * D + d];
        sum[d] = s;
    }
}
