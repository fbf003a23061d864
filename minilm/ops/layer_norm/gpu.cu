// Layer normalisation of the rows of a matrix (N, D).
//
// forward, version 1   A thread a row, as a CPU would do it: neighbours read numbers D apart.
// forward, version 2   The default. A warp a row: neighbours read neighbours, and sums need no barrier.
// backward             A warp a row; the gradients by gamma and beta are sums over columns (minilm/ops/cuda/columns.cu).
#include "minilm_cuda.h"
#include "normalise.h"

extern "C" __global__ void layer_norm_forward_1(
    const REAL* x,      // (N, D)
    const REAL* gamma,  // (D) or null
    const REAL* beta,   // (D) or null
    REAL* y,            // (N, D)
    REAL* mean,         // (N)
    REAL* rstd,         // (N)
    i64 N, i64 D, REAL eps) {
    i64 n = thread_of_grid();
    if (n >= N) return;
    const REAL* row = x + n * D;
    REAL m = 0, v = 0;
    for (i64 d = 0; d < D; ++d) m += row[d];
    m /= D;
    for (i64 d = 0; d < D; ++d) v += (row[d] - m) * (row[d] - m);
    REAL r = 1 / sqrt(v / D + eps);
    for (i64 d = 0; d < D; ++d) {
        REAL u = (row[d] - m) * r;
        if (gamma) u *= gamma[d];
        y[n * D + d] = beta ? u + beta[d] : u;
    }
    mean[n] = m, rstd[n] = r;
}

extern "C" __global__ void layer_norm_forward_2(
    const REAL* x,      // (N, D)
    const REAL* gamma,  // (D) or null
    const REAL* beta,   // (D) or null
    REAL* y,            // (N, D)
    REAL* mean,         // (N)
    REAL* rstd,         // (N)
    i64 N, i64 D, REAL eps) {
    i64 n = i64(blockIdx.x) * (blockDim.x / 32) + warp();
    if (n >= N) return;
    Moments moments = moments_of(x + n * D, D, eps);
    normalise(x + n * D, gamma, beta, moments, y + n * D, D);
    if (lane() == 0) mean[n] = moments.mean, rstd[n] = moments.rstd;
}

extern "C" __global__ void layer_norm_backward(
    const REAL* dy,     // (N, D)
    const REAL* x,      // (N, D)
    const REAL* gamma,  // (D) or null
    const REAL* mean,   // (N)
    const REAL* rstd,   // (N)
    REAL* dx,           // (N, D)
    REAL* dy_u,         // (N, D) or null
    i64 N, i64 D) {
    i64 n = i64(blockIdx.x) * (blockDim.x / 32) + warp(), at = n * D;
    if (n >= N) return;
    normalise_backward(dy + at, x + at, gamma, {mean[n], rstd[n]}, nullptr, dx + at, dy_u ? dy_u + at : nullptr, D);
}
