// The simple recurrent layer. One version: for every step the product h' W_hhᵀ by cuBLAS, and one kernel for what is elementwise, a
// thread a number.
#include "minilm_cuda.h"
#include "gates.h"

extern "C" __global__ void rnn_step_forward(
    const REAL* a_x,       // (B, H)
    const REAL* a_h,       // (B, H)
    const REAL* b_ih,      // (H)
    const REAL* b_hh,      // (H)
    const REAL* h_before,  // (B, H)
    const i64* lengths,    // (B) or null
    REAL* h_after,         // (B, H)
    REAL* y,               // (B, H) or null
    i64 B, i64 H, i64 t, int relu) {
    for (i64 n = thread_of_grid(); n < B * H; n += threads_of_grid()) {
        bool part = active(lengths, n / H, t);
        REAL a = a_x[n] + a_h[n] + b_ih[n % H] + b_hh[n % H];
        REAL h = relu ? (a < 0 ? REAL(0) : a) : tanh(a);
        h_after[n] = part ? h : h_before[n];
        if (y) y[n] = part ? h : REAL(0);
    }
}

// da of a step from dh, the gradient by the state after it; dh is then what goes past the product
extern "C" __global__ void rnn_step_backward(
    const REAL* dy,       // (B, H) or null
    const REAL* h_after,  // (B, H)
    const i64* lengths,   // (B) or null
    REAL* dh,             // (B, H)
    REAL* da,             // (B, H)
    i64 B, i64 H, i64 t, int relu) {
    for (i64 n = thread_of_grid(); n < B * H; n += threads_of_grid()) {
        bool part = active(lengths, n / H, t);
        REAL d = dy ? dh[n] + dy[n] : dh[n], h = h_after[n];
        da[n] = !part ? REAL(0) : relu ? (h <= 0 ? REAL(0) : d) : d * (1 - h * h);
        dh[n] = part ? REAL(0) : dh[n];
    }
}
