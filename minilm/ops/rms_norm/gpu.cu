// Root mean square normalisation.
//
//   version 1   one thread a row: neighbouring threads read numbers D apart, a line of memory for each
//   version 2   one warp a row: lanes read neighbouring numbers, and the sum needs no barrier; the one that is used
#include "minilm_cuda.h"

extern "C" __global__ void rms_norm_forward_1(
    const REAL* x,      // (N, D)
    const REAL* gamma,  // (D) or null
    REAL* y,            // (N, D)
    REAL* rrms,         // (N)
    i64 N, i64 D, REAL eps) {
    i64 n = thread_of_grid();
    if (n >= N) return;
    const REAL* row = x + n * D;
    REAL squares = 0;
    for (i64 d = 0; d < D; ++d) squares += row[d] * row[d];
    REAL r = 1 / sqrt(squares / D + eps);
    for (i64 d = 0; d < D; ++d) y[n * D + d] = gamma ? row[d] * r * gamma[d] : row[d] * r;
    rrms[n] = r;
}

extern "C" __global__ void rms_norm_forward_2(
    const REAL* x,      // (N, D)
    const REAL* gamma,  // (D) or null
    REAL* y,            // (N, D)
    REAL* rrms,         // (N)
    i64 N, i64 D, REAL eps) {
    i64 n = i64(blockIdx.x) * (blockDim.x / 32) + warp();
    if (n >= N) return;
    const REAL* row = x + n * D;
    REAL squares = 0;
    for (i64 d = lane(); d < D; d += 32) squares += row[d] * row[d];
    REAL r = 1 / sqrt(warp_sum(squares) / D + eps);
    for (i64 d = lane(); d < D; d += 32) y[n * D + d] = gamma ? row[d] * r * gamma[d] : row[d] * r;
    if (lane() == 0) rrms[n] = r;
}

extern "C" __global__ void rms_norm_backward(
    const REAL* dy,     // (N, D)
    const REAL* x,      // (N, D)
    const REAL* gamma,  // (D) or null
    const REAL* rrms,   // (N)
    REAL* dx,           // (N, D)
    REAL* dy_u,         // (N, D) or null: its sum over the rows is dgamma
    i64 N, i64 D) {
    i64 n = i64(blockIdx.x) * (blockDim.x / 32) + warp(), at = n * D;
    if (n >= N) return;
    REAL r = rrms[n], sum_gu = 0;
    for (i64 d = lane(); d < D; d += 32) {
        REAL u = x[at + d] * r, g = gamma ? dy[at + d] * gamma[d] : dy[at + d];
        sum_gu += g * u;
        if (dy_u) dy_u[at + d] = dy[at + d] * u;
    }
    REAL mean_gu = warp_sum(sum_gu) / D;
    for (i64 d = lane(); d < D; d += 32) {
        REAL g = gamma ? dy[at + d] * gamma[d] : dy[at + d];
        dx[at + d] = r * (g - x[at + d] * r * mean_gu);
    }
}
