// GRU, gates in the order r z n, the reset gate after the product.
//
// Version 1: for every step a product by cuBLAS and one kernel for all that is elementwise.
// Version 2: one kernel for all steps, for H so small that a block's shared memory holds the recurrent weights; see lstm/gpu.cu.
// Version 3, for other widths: sliced.cu.
#include "minilm_cuda.h"
#include "gates.h"

#define ROWS 4  // of the batch, to a block of the persistent kernels

// --- version 1 ------------------------------------------------------------------------------------------------------

extern "C" __global__ void gru_step_forward(
    const REAL* a_x,       // (B, 3H)
    const REAL* a_h,       // (B, 3H)
    const REAL* b_ih,      // (3H)
    const REAL* b_hh,      // (3H)
    const REAL* h_before,  // (B, H)
    const i64* lengths,    // (B) or null
    REAL* gates,           // (B, 3H)
    REAL* inner,           // (B, H)
    REAL* h_after,         // (B, H)
    REAL* y,               // (B, H) or null
    i64 B, i64 H, i64 t) {
    for (i64 n = thread_of_grid(); n < B * H; n += threads_of_grid()) {
        i64 b = n / H, j = n % H, at = b * 3 * H + j;
        REAL a[3], u[3];
        for (int k = 0; k < 3; ++k) {
            a[k] = a_x[at + k * H] + b_ih[k * H + j];
            u[k] = a_h[at + k * H] + b_hh[k * H + j];
        }
        REAL r = sigmoid(a[0] + u[0]), z = sigmoid(a[1] + u[1]), new_ = tanh(a[2] + r * u[2]);
        REAL h = (1 - z) * new_ + z * h_before[n];
        gates[at] = r, gates[at + H] = z, gates[at + 2 * H] = new_;
        inner[n] = u[2];
        bool part = active(lengths, b, t);
        h_after[n] = part ? h : h_before[n];
        if (y) y[n] = part ? h : REAL(0);
    }
}

// da on the side of the input and dg on that of the state; dh becomes what goes past the product
extern "C" __global__ void gru_step_backward(
    const REAL* dy,        // (B, H) or null
    const REAL* h_before,  // (B, H)
    const REAL* gates,     // (B, 3H)
    const REAL* inner,     // (B, H)
    const i64* lengths,    // (B) or null
    REAL* dh,              // (B, H)
    REAL* da,              // (B, 3H)
    REAL* dg,              // (B, 3H)
    i64 B, i64 H, i64 t) {
    for (i64 n = thread_of_grid(); n < B * H; n += threads_of_grid()) {
        i64 b = n / H, j = n % H, at = b * 3 * H + j;
        bool part = active(lengths, b, t);
        REAL r = gates[at], z = gates[at + H], new_ = gates[at + 2 * H];
        REAL d = dy ? dh[n] + dy[n] : dh[n];
        REAL da_n = d * (1 - z) * (1 - new_ * new_), da_r = da_n * inner[n] * r * (1 - r);
        REAL da_z = d * (h_before[n] - new_) * z * (1 - z);
        da[at] = dg[at] = part ? da_r : REAL(0);
        da[at + H] = dg[at + H] = part ? da_z : REAL(0);
        da[at + 2 * H] = part ? da_n : REAL(0);
        dg[at + 2 * H] = part ? da_n * r : REAL(0);
        if (part) dh[n] = d * z;
    }
}

// --- version 2 ------------------------------------------------------------------------------------------------------

// Thread r of at least 3H has row r of W_hh, from shared memory, where it lies turned: neighbours then read neighbours.
extern "C" __global__ void gru_persistent_forward(
    const REAL* a_x,     // (T, B, 3H)
    const REAL* W_hh,    // (3H, H)
    const REAL* b_ih,    // (3H)
    const REAL* b_hh,    // (3H)
    const i64* lengths,  // (B) or null
    REAL* gates,         // (T, B, 3H)
    REAL* inner,         // (T, B, H)
    REAL* h,             // (T + 1, B, H)
    REAL* y,             // (T, B, H) or null
    i64 T, i64 B, i64 H, int reverse) {
    DYN_SHARED(REAL, shared);
    REAL* W = shared;             // (H, 3H)
    REAL* h_now = W + 3 * H * H;  // (ROWS, H)
    REAL* u = h_now + ROWS * H;   // (ROWS, 3H) W_hh h' + b_hh
    i64 r = threadIdx.x, first = i64(blockIdx.x) * ROWS;
    int rows = int(min(i64(ROWS), B - first));
    for (i64 n = threadIdx.x; n < 3 * H * H; n += blockDim.x) W[n % H * 3 * H + n / H] = W_hh[n];
    for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) h_now[n] = h[((reverse ? T : 0) * B + first) * H + n];
    for (i64 step = 0; step < T; ++step) {
        i64 t = reverse ? T - 1 - step : step, after = reverse ? t : t + 1;
        __syncthreads();  // h_now is there
        if (r < 3 * H) {
            REAL sum[ROWS] = {};
            for (i64 k = 0; k < H; ++k)
                for (int b = 0; b < ROWS; ++b)
                    if (b < rows) sum[b] += W[k * 3 * H + r] * h_now[b * H + k];
            for (int b = 0; b < ROWS; ++b)
                if (b < rows) u[b * 3 * H + r] = sum[b] + b_hh[r];
        }
        __syncthreads();  // u is there, and h_now has been read
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H, at = (t * B + first + b) * 3 * H + j;
            const REAL* u_b = u + b * 3 * H + j;
            REAL r_j = sigmoid(a_x[at] + b_ih[j] + u_b[0]), z = sigmoid(a_x[at + H] + b_ih[H + j] + u_b[H]);
            REAL new_ = tanh(a_x[at + 2 * H] + b_ih[2 * H + j] + r_j * u_b[2 * H]);
            REAL h_t = (1 - z) * new_ + z * h_now[n];
            gates[at] = r_j, gates[at + H] = z, gates[at + 2 * H] = new_;
            inner[(t * B + first) * H + n] = u_b[2 * H];
            bool part = active(lengths, first + b, t);
            if (part) h_now[n] = h_t;
            h[(after * B + first) * H + n] = h_now[n];
            if (y) y[(t * B + first) * H + n] = part ? h_t : REAL(0);
        }
    }
}

extern "C" __global__ void gru_persistent_backward(
    const REAL* dy,      // (T, B, H) or null
    const REAL* h,       // (T + 1, B, H)
    const REAL* gates,   // (T, B, 3H)
    const REAL* inner,   // (T, B, H)
    const REAL* W_hh,    // (3H, H)
    const i64* lengths,  // (B) or null
    REAL* dh,            // (B, H)
    REAL* da,            // (T, B, 3H)
    REAL* dg,            // (T, B, 3H)
    i64 T, i64 B, i64 H, int reverse) {
    DYN_SHARED(REAL, shared);
    REAL* W = shared;              // (3H, H)
    REAL* dg_now = W + 3 * H * H;  // (ROWS, 3H)
    i64 first = i64(blockIdx.x) * ROWS;
    int rows = int(min(i64(ROWS), B - first));
    for (i64 n = threadIdx.x; n < 3 * H * H; n += blockDim.x) W[n] = W_hh[n];
    for (i64 step = T - 1; step >= 0; --step) {
        i64 t = reverse ? T - 1 - step : step, before = reverse ? t + 1 : t;
        // A thread has the same elements of dh in every step, so they need no barrier.
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H, at = (t * B + first + b) * 3 * H + j, state = first * H + n;
            bool part = active(lengths, first + b, t);
            REAL r = gates[at], z = gates[at + H], new_ = gates[at + 2 * H];
            REAL d = dy ? dh[state] + dy[t * B * H + state] : dh[state];
            REAL da_n = d * (1 - z) * (1 - new_ * new_), da_r = da_n * inner[t * B * H + state] * r * (1 - r);
            REAL da_z = d * (h[before * B * H + state] - new_) * z * (1 - z);
            REAL by_gate[3] = {part ? da_r : REAL(0), part ? da_z : REAL(0), part ? da_n * r : REAL(0)};
            for (int k = 0; k < 3; ++k) dg_now[b * 3 * H + k * H + j] = dg[at + k * H] = by_gate[k];
            da[at] = by_gate[0], da[at + H] = by_gate[1], da[at + 2 * H] = part ? da_n : REAL(0);
            if (part) dh[state] = d * z;
        }
        __syncthreads();  // dg_now, and at first W, is there
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H;
            REAL sum = 0;
            for (i64 r = 0; r < 3 * H; ++r) sum += dg_now[b * 3 * H + r] * W[r * H + j];
            dh[first * H + n] += sum;
        }
        __syncthreads();  // dg_now has been read
    }
}
