// Residual sum and layer normalisation of the rows of a matrix (N, D). One version, a warp a row: the sum goes to memory once, and is
// read again from the cache.
#include "minilm_cuda.h"
#include "normalise.h"

extern "C" __global__ void residual_layer_norm_forward(
    const REAL* x,         // (N, D)
    const REAL* residual,  // (N, D)
    const REAL* gamma,     // (D) or null
    const REAL* beta,      // (D) or null
    REAL* total,           // (N, D)
    REAL* y,               // (N, D)
    REAL* mean,            // (N)
    REAL* rstd,            // (N)
    i64 N, i64 D, REAL eps) {
    i64 n = i64(blockIdx.x) * (blockDim.x / 32) + warp(), at = n * D;
    if (n >= N) return;
    for (i64 d = lane(); d < D; d += 32) total[at + d] = x[at + d] + residual[at + d];  // each lane reads only what it wrote
    Moments moments = moments_of(total + at, D, eps);
    normalise(total + at, gamma, beta, moments, y + at, D);
    if (lane() == 0) mean[n] = moments.mean, rstd[n] = moments.rstd;
}

extern "C" __global__ void residual_layer_norm_backward(
    const REAL* dtotal,  // (N, D) or null
    const REAL* dy,      // (N, D)
    const REAL* total,   // (N, D)
    const REAL* gamma,   // (D) or null
    const REAL* mean,    // (N)
    const REAL* rstd,    // (N)
    REAL* dx,            // (N, D)
    REAL* dy_u,          // (N, D) or null
    i64 N, i64 D) {
    i64 n = i64(blockIdx.x) * (blockDim.x / 32) + warp(), at = n * D;
    if (n >= N) return;
    const REAL* more = dtotal ? dtotal + at : nullptr;
    normalise_backward(dy + at, total + at, gamma, {mean[n], rstd[n]}, more, dx + at, dy_u ? dy_u + at : nullptr, D);
}
