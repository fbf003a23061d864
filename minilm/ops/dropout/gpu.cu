// Dropout. One version, a thread a number: its factor is drawn where it is needed, so no mask is stored, and backward is forward on dy.
#include "minilm_cuda.h"
#include "philox.h"

// x is seen as (A, S, C), where S is the axis whose elements share a decision, or 1.
extern "C" __global__ void dropout(
    const REAL* x,  // (N)
    REAL* y,        // (N)
    i64 N, i64 S, i64 C, REAL scale, u32 threshold, KeyArguments key_args) {
    Key key = key_of(key_args);
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        i64 decision = n / (S * C) * C + n % C;
        u32 r = key.bits(decision);
        y[n] = x[n] * (r >= threshold ? scale : REAL(0));  // a product: a dropped NaN stays one, as in PyTorch
    }
}
