// Lion over the flat buffers. One version, in one pass, at the speed of memory.
#include "minilm_cuda.h"

// `scale` lies on the device, where clipping computed it; where it is not finite nothing is changed. Learning rate
// and step lie there too, so that a CUDA graph, whose numbers are those of its capture, can be launched for every step.
extern "C" __global__ void lion_step(
    REAL* param,        // (N)
    REAL* grad,         // (N)
    REAL* m,            // (N)
    const REAL* scale,  // (1)
    const REAL* lr,     // (1)
    const i64* step,    // (1)
    i64 N, REAL beta1, REAL beta2, REAL one_minus_beta1, REAL one_minus_beta2, REAL weight_decay, int clear) {
    REAL factor = *scale, eta = *lr;
    bool first = *step == 1;
    if (!isfinite(factor)) return;
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL p = param[n], g = factor * grad[n], before = first ? REAL(0) : m[n];
        REAL mean = beta1 * before + one_minus_beta1 * g;
        REAL u = mean > 0 ? REAL(1) : mean < 0 ? REAL(-1) : mean;  // NaN stays
        param[n] = p - eta * (u + weight_decay * (fabs(p) == INFINITE ? REAL(0) : p));
        m[n] = beta2 * before + one_minus_beta2 * g;
        if (clear) grad[n] = 0;
    }
}
