// LSTM, gates in the order i f g o.
//
// Version 1: for every step a product by cuBLAS and one kernel for all that is elementwise.
// Version 2: one kernel for all steps, for H so small that a block's shared memory holds the recurrent weights: they are read from
// memory once a sequence instead of once a step, and there is one launch instead of 2 T. A block has a few rows of the batch, which
// need no other block: rows never meet.
// Version 3, for other widths: sliced.cu.
#include "minilm_cuda.h"
#include "gates.h"

#define ROWS 4  // of the batch, to a block of the persistent kernels

// --- version 1 ------------------------------------------------------------------------------------------------------

extern "C" __global__ void lstm_step_forward(
    const REAL* a_x,       // (B, 4H)
    const REAL* a_h,       // (B, 4H)
    const REAL* b_ih,      // (4H)
    const REAL* b_hh,      // (4H)
    const REAL* h_before,  // (B, H)
    const REAL* c_before,  // (B, H)
    const i64* lengths,    // (B) or null
    REAL* gates,           // (B, 4H)
    REAL* h_after,         // (B, H)
    REAL* c_after,         // (B, H)
    REAL* y,               // (B, H) or null
    i64 B, i64 H, i64 t) {
    for (i64 n = thread_of_grid(); n < B * H; n += threads_of_grid()) {
        i64 b = n / H, j = n % H;
        REAL a[4];
        for (int k = 0; k < 4; ++k) {
            i64 gate = k * H + j, at = b * 4 * H + gate;
            a[k] = a_x[at] + a_h[at] + b_ih[gate] + b_hh[gate];
        }
        REAL i = sigmoid(a[0]), f = sigmoid(a[1]), g = tanh(a[2]), o = sigmoid(a[3]);
        REAL c = f * c_before[n] + i * g, h = o * tanh(c);
        REAL* at = gates + b * 4 * H + j;
        at[0] = i, at[H] = f, at[2 * H] = g, at[3 * H] = o;
        bool part = active(lengths, b, t);
        c_after[n] = part ? c : c_before[n];
        h_after[n] = part ? h : h_before[n];
        if (y) y[n] = part ? h : REAL(0);
    }
}

// da of a step; dc becomes that of the step before, and dh what goes past the product
extern "C" __global__ void lstm_step_backward(
    const REAL* dy,        // (B, H) or null
    const REAL* c_before,  // (B, H)
    const REAL* c_after,   // (B, H)
    const REAL* gates,     // (B, 4H)
    const i64* lengths,    // (B) or null
    REAL* dh,              // (B, H)
    REAL* dc,              // (B, H)
    REAL* da,              // (B, 4H)
    i64 B, i64 H, i64 t) {
    for (i64 n = thread_of_grid(); n < B * H; n += threads_of_grid()) {
        i64 b = n / H, j = n % H, at = b * 4 * H + j;
        bool part = active(lengths, b, t);
        REAL i = gates[at], f = gates[at + H], g = gates[at + 2 * H], o = gates[at + 3 * H];
        REAL d = dy ? dh[n] + dy[n] : dh[n], tanh_c = tanh(c_after[n]);
        REAL dc_t = dc[n] + d * o * (1 - tanh_c * tanh_c);
        da[at] = part ? dc_t * g * i * (1 - i) : REAL(0);
        da[at + H] = part ? dc_t * c_before[n] * f * (1 - f) : REAL(0);
        da[at + 2 * H] = part ? dc_t * i * (1 - g * g) : REAL(0);
        da[at + 3 * H] = part ? d * tanh_c * o * (1 - o) : REAL(0);
        if (part) dc[n] = dc_t * f, dh[n] = 0;
    }
}

// --- version 2 ------------------------------------------------------------------------------------------------------

// Thread r of at least 4H has row r of W_hh, from shared memory, where it lies turned: neighbours then read neighbours.
extern "C" __global__ void lstm_persistent_forward(
    const REAL* a_x,     // (T, B, 4H)
    const REAL* W_hh,    // (4H, H)
    const REAL* b_ih,    // (4H)
    const REAL* b_hh,    // (4H)
    const i64* lengths,  // (B) or null
    REAL* gates,         // (T, B, 4H)
    REAL* h,             // (T + 1, B, H)
    REAL* c,             // (T + 1, B, H)
    REAL* y,             // (T, B, H) or null
    i64 T, i64 B, i64 H, int reverse) {
    DYN_SHARED(REAL, shared);
    REAL* W = shared;             // (H, 4H)
    REAL* h_now = W + 4 * H * H;  // (ROWS, H)
    REAL* a = h_now + ROWS * H;   // (ROWS, 4H)
    i64 r = threadIdx.x, first = i64(blockIdx.x) * ROWS;
    int rows = int(min(i64(ROWS), B - first));
    for (i64 n = threadIdx.x; n < 4 * H * H; n += blockDim.x) W[n % H * 4 * H + n / H] = W_hh[n];
    for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) h_now[n] = h[((reverse ? T : 0) * B + first) * H + n];
    REAL bias = r < 4 * H ? b_ih[r] + b_hh[r] : REAL(0);
    for (i64 step = 0; step < T; ++step) {
        i64 t = reverse ? T - 1 - step : step, before = reverse ? t + 1 : t, after = reverse ? t : t + 1;
        __syncthreads();  // h_now is there
        if (r < 4 * H) {
            REAL sum[ROWS] = {};
            for (i64 k = 0; k < H; ++k)
                for (int b = 0; b < ROWS; ++b)
                    if (b < rows) sum[b] += W[k * 4 * H + r] * h_now[b * H + k];
            for (int b = 0; b < ROWS; ++b)
                if (b < rows) {
                    REAL v = sum[b] + a_x[(t * B + first + b) * 4 * H + r] + bias;
                    a[b * 4 * H + r] = v = r / H == 2 ? tanh(v) : sigmoid(v);
                    gates[(t * B + first + b) * 4 * H + r] = v;
                }
        }
        __syncthreads();  // a is there, and h_now has been read
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H, at = first * H + n;
            const REAL* gate = a + b * 4 * H + j;
            REAL c_before = c[before * B * H + at];
            REAL c_t = gate[H] * c_before + gate[0] * gate[2 * H], h_t = gate[3 * H] * tanh(c_t);
            bool part = active(lengths, first + b, t);
            if (part) h_now[n] = h_t;
            h[after * B * H + at] = h_now[n];
            c[after * B * H + at] = part ? c_t : c_before;
            if (y) y[t * B * H + at] = part ? h_t : REAL(0);
        }
    }
}

extern "C" __global__ void lstm_persistent_backward(
    const REAL* dy,      // (T, B, H) or null
    const REAL* c,       // (T + 1, B, H)
    const REAL* gates,   // (T, B, 4H)
    const REAL* W_hh,    // (4H, H)
    const i64* lengths,  // (B) or null
    REAL* dh,            // (B, H)
    REAL* dc,            // (B, H)
    REAL* da,            // (T, B, 4H)
    i64 T, i64 B, i64 H, int reverse) {
    DYN_SHARED(REAL, shared);
    REAL* W = shared;              // (4H, H)
    REAL* da_now = W + 4 * H * H;  // (ROWS, 4H)
    i64 first = i64(blockIdx.x) * ROWS;
    int rows = int(min(i64(ROWS), B - first));
    for (i64 n = threadIdx.x; n < 4 * H * H; n += blockDim.x) W[n] = W_hh[n];
    for (i64 step = T - 1; step >= 0; --step) {
        i64 t = reverse ? T - 1 - step : step, before = reverse ? t + 1 : t, after = reverse ? t : t + 1;
        // A thread has the same elements of dh and dc in every step, so they need no barrier.
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H, at = first * H + n;
            const REAL* gate = gates + (t * B + first + b) * 4 * H + j;
            REAL i = gate[0], f = gate[H], g = gate[2 * H], o = gate[3 * H];
            bool part = active(lengths, first + b, t);
            REAL d = dy ? dh[at] + dy[t * B * H + at] : dh[at], tanh_c = tanh(c[after * B * H + at]);
            REAL dc_t = dc[at] + d * o * (1 - tanh_c * tanh_c);
            REAL by_gate[4] = {dc_t * g * i * (1 - i), dc_t * c[before * B * H + at] * f * (1 - f), dc_t * i * (1 - g * g),
                               d * tanh_c * o * (1 - o)};
            for (int k = 0; k < 4; ++k) {
                REAL v = part ? by_gate[k] : REAL(0);
                da_now[b * 4 * H + k * H + j] = v;
                da[(t * B + first + b) * 4 * H + k * H + j] = v;
            }
            if (part) dc[at] = dc_t * f, dh[at] = 0;
        }
        __syncthreads();  // da_now, and at first W, is there
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H;
            REAL sum = 0;
            for (i64 r = 0; r < 4 * H; ++r) sum += da_now[b * 4 * H + r] * W[r * H + j];
            dh[first * H + n] += sum;
        }
        __syncthreads();  // da_now has been read
    }
}
