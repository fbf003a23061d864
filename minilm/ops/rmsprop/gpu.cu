// RMSprop over the flat buffers. One version, in one pass, at the speed of memory.
#include "minilm_cuda.h"

// `scale` lies on the device, where clipping computed it; where it is not finite nothing is changed. Learning rate
// and step lie there too, so that a CUDA graph, whose numbers are those of its capture, can be launched for every step.
extern "C" __global__ void rmsprop_step(
    REAL* param,            // (N)
    REAL* grad,             // (N)
    REAL* v,                // (N)
    REAL* mean,             // (N) or null
    REAL* momentum_buffer,  // (N) or null
    const REAL* scale,      // (1)
    const REAL* lr,         // (1)
    const i64* step,        // (1)
    i64 N, REAL alpha, REAL one_minus_alpha, REAL eps, REAL momentum, REAL weight_decay, int clear) {
    REAL factor = *scale, eta = *lr;
    bool first = *step == 1;
    if (!isfinite(factor)) return;
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL p = param[n], g = factor * grad[n] + weight_decay * (fabs(p) == INFINITE ? REAL(0) : p);
        REAL variance = alpha * (first ? REAL(0) : v[n]) + one_minus_alpha * g * g;
        v[n] = variance;
        if (mean) {
            REAL centre = alpha * (first ? REAL(0) : mean[n]) + one_minus_alpha * g;
            mean[n] = centre;
            variance -= centre * centre;
            if (variance < 0) variance = 0;  // by rounding alone
        }
        REAL direction = g / (sqrt(variance) + eps);
        if (momentum_buffer) momentum_buffer[n] = direction += momentum * (first ? REAL(0) : momentum_buffer[n]);
        param[n] = p - eta * direction;
        if (clear) grad[n] = 0;
    }
}
