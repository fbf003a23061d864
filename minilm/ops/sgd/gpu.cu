// Stochastic gradient descent over the flat buffers, in one pass.
#include "minilm_cuda.h"

// `scale` lies on the device, where clipping computed it; where it is not finite nothing is changed.
extern "C" __global__ void sgd_step(
    REAL* param,            // (N)
    REAL* grad,             // (N)
    REAL* momentum_buffer,  // (N) or null
    const REAL* scale,      // (1)
    i64 N, REAL lr, REAL momentum, REAL one_minus_dampening, REAL weight_decay, int first, int nesterov, int clear) {
    REAL factor = scale[0];
    if (!isfinite(factor)) return;
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL g = factor * grad[n] + weight_decay * param[n], direction = g;
        if (momentum_buffer) {
            REAL b = first ? g : momentum * momentum_buffer[n] + one_minus_dampening * g;
            momentum_buffer[n] = b;
            direction = nesterov ? g + momentum * b : b;
        }
        param[n] -= lr * direction;
        if (clear) grad[n] = 0;
    }
}
