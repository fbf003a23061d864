// Adam over the flat buffers. One version, in one pass: 4 numbers read and 3 written for each parameter, which is all the time it takes.
#include "minilm_cuda.h"

// `scale` lies on the device, where clipping computed it; where it is not finite nothing is changed. Learning rate and step lie
// there too, so that a CUDA graph, whose numbers are those of its capture, can be launched for every step. The corrections
// 1 - beta^step come from log(beta): 1 minus a power would lose their digits in the first steps.
extern "C" __global__ void adam_step(
    REAL* param,        // (N)
    REAL* grad,         // (N)
    REAL* m,            // (N)
    REAL* v,            // (N)
    REAL* v_max,        // (N) or null
    const REAL* scale,  // (1)
    const REAL* lr,     // (1)
    const i64* step,    // (1)
    i64 N, REAL beta1, REAL beta2, REAL one_minus_beta1, REAL one_minus_beta2, REAL log_beta1, REAL log_beta2, REAL eps,
    REAL weight_decay, int decoupled, int clear) {
    REAL factor = *scale, eta = *lr, t = REAL(*step);
    if (!isfinite(factor)) return;
    REAL correction1 = -expm1(t * log_beta1), correction2 = -expm1(t * log_beta2);
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        REAL p = param[n], g = factor * grad[n];
        REAL decay = weight_decay * (fabs(p) == INFINITE ? REAL(0) : p);
        if (decoupled) p -= eta * decay;
        else g += decay;
        REAL m_n = beta1 * m[n] + one_minus_beta1 * g;
        REAL v_n = beta2 * v[n] + one_minus_beta2 * g * g;
        m[n] = m_n, v[n] = v_n;
        if (v_max) v_max[n] = v_n = larger(v_max[n], v_n);
        param[n] = p - eta * (m_n / correction1) / (sqrt(v_n / correction2) + eps);
        if (clear) grad[n] = 0;
    }
}
