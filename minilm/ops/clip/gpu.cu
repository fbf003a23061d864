// The norm of all gradients together. One version: sums of squares by blocks, in float64, and their sum by one block more; so the
// additions have one order, whatever block runs first.
#include "minilm_cuda.h"

extern "C" __global__ void clip_squares(
    const REAL* grad,  // (N)
    double* part,      // (P)
    i64 N, i64 P) {
    __shared__ double scratch[32];
    double sum = 0;
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) sum += double(grad[n]) * double(grad[n]);
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

extern "C" __global__ void clip_norm(
    const double* part,  // (P)
    REAL* norm,          // (1)
    i64 P) {
    __shared__ double scratch[32];
    double sum = 0;
    for (i64 p = threadIdx.x; p < P; p += blockDim.x) sum += part[p];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) norm[0] = REAL(sqrt(sum));
}

// min(1, max_norm / (norm + 1e-6)); NaN for a norm that is not finite, by which an update changes nothing
extern "C" __global__ void clip_scale(
    const REAL* norm,  // (1)
    REAL* scale,       // (1)
    REAL max_norm) {
    REAL s = max_norm / (norm[0] + REAL(1e-6));
    scale[0] = !isfinite(norm[0]) ? INFINITE - INFINITE : s < 1 ? s : REAL(1);
}
