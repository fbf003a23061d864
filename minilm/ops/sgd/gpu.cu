// Stochastic gradient descent over the flat buffers. One version, in one pass, at the speed of memory.
#include "minilm_cuda.h"

// `scale` lies on the device, where clipping computed it; where it is not finite nothing is changed. Learning rate
// and step lie there too, so that a CUDA graph, whose numbers are those of its capture, can be launched for every step.
extern "C" __global__ void sgd_step(
    REAL* param,            // (N)
    REAL* grad,             // (N)
    REAL* momentum_buffer,  // (N) or null
    const REAL* scale,      // (1)
    const REAL* lr,         // (1)
    const i64* step,        // (1)
    i64 N, REAL momentum, REAL one_minus_dampening, REAL weight_decay, int nesterov, int clear) {
    REAL factor = *scale, eta = *lr;
    bool first = *step == 1;
    if (!isfinite(factor)) return;
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL p = param[n], g = factor * grad[n] + weight_decay * (fabs(p) == INFINITE ? REAL(0) : p), direction = g;
        if (momentum_buffer) {
            REAL b = first ? g : momentum * momentum_buffer[n] + one_minus_dampening * g;
            momentum_buffer[n] = b;
            direction = nesterov ? g + momentum * b : b;
        }
        param[n] = p - eta * direction;
        if (clear) grad[n] = 0;
    }
}
