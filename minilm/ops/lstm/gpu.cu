// LSTM over all steps of a sequence, gates in the order i f g o. The input's products, and those of the
// weights' gradients, are cuBLAS's, over all steps at once; what the versions differ in is the recurrent product.
//
// version 1   For every step a product by cuBLAS and one kernel for all that is elementwise: 2 T launches, and the recurrent weights
//             are read from memory in every step. Runs for one step (a cell), and where no other version fits.
// version 2   One kernel for all steps, for H so small that a block's shared memory holds the recurrent weights (H <= 75 in float32):
//             they are read from memory once a sequence. A block has ROWS rows of the batch, which need no other block, for rows
//             never meet. Runs wherever it fits.
// version 3   sliced.cu: one kernel for all steps, the recurrent weights spread over the multiprocessors, whose blocks wait for one
//             another between two steps. Runs for other H, up to about 1,050 on an H200.
#include "minilm_cuda.h"
#include "gates.h"
#include "lstm.h"

// --- version 1 ------------------------------------------------------------------------------------------------------

extern "C" __global__ void lstm_step_forward(
    LstmForward args,
    const REAL* a_h,  // (B, 4H) W_hh h'
    i64 t) {
    i64 B = args.B, H = args.H;
    i64 before = (args.reverse ? t + 1 : t) * B * H, after = (args.reverse ? t : t + 1) * B * H;
    for (i64 n = thread_of_grid(); n < B * H; n += threads_of_grid()) {
        i64 b = n / H, j = n % H;
        REAL a[4];
        for (int k = 0; k < 4; ++k) {
            i64 gate = k * H + j, at = b * 4 * H + gate;
            a[k] = args.a_x[t * B * 4 * H + at] + a_h[at] + args.b_ih[gate] + args.b_hh[gate];
        }
        REAL i = sigmoid(a[0]), f = sigmoid(a[1]), g = tanh(a[2]), o = sigmoid(a[3]);
        REAL c_before = args.c[before + n], h_before = args.h[before + n];
        REAL c = f * c_before + i * g, h = o * tanh(c);
        REAL* at = args.gates + (t * B + b) * 4 * H + j;
        at[0] = i, at[H] = f, at[2 * H] = g, at[3 * H] = o;
        bool part = active(args.lengths, b, t);
        args.c[after + n] = part ? c : c_before;
        args.h[after + n] = part ? h : h_before;
        if (args.y) args.y[t * B * H + n] = part ? h : REAL(0);
    }
}

// da of a step; dc becomes that of the step before, and dh what goes past the product
extern "C" __global__ void lstm_step_backward(LstmBackward args, i64 t) {
    i64 B = args.B, H = args.H;
    i64 before = (args.reverse ? t + 1 : t) * B * H, after = (args.reverse ? t : t + 1) * B * H;
    for (i64 n = thread_of_grid(); n < B * H; n += threads_of_grid()) {
        i64 b = n / H, j = n % H;
        bool part = active(args.lengths, b, t);
        const REAL* gate = args.gates + (t * B + b) * 4 * H + j;
        REAL i = gate[0], f = gate[H], g = gate[2 * H], o = gate[3 * H];
        REAL d = args.dy ? args.dh[n] + args.dy[t * B * H + n] : args.dh[n], tanh_c = tanh(args.c[after + n]);
        REAL dc_t = args.dc[n] + d * o * (1 - tanh_c * tanh_c);
        REAL* da = args.da + (t * B + b) * 4 * H + j;
        da[0] = part ? dc_t * g * i * (1 - i) : REAL(0);
        da[H] = part ? dc_t * args.c[before + n] * f * (1 - f) : REAL(0);
        da[2 * H] = part ? dc_t * i * (1 - g * g) : REAL(0);
        da[3 * H] = part ? d * tanh_c * o * (1 - o) : REAL(0);
        if (part) args.dc[n] = dc_t * f, args.dh[n] = 0;
    }
}

// --- version 2 ------------------------------------------------------------------------------------------------------

// Thread r of at least 4H has row r of W_hh, from shared memory, where it lies transposed: neighbours then read neighbours.
extern "C" __global__ void lstm_persistent_forward(LstmForward args) {
    i64 T = args.T, B = args.B, H = args.H;
    DYN_SHARED(REAL, shared);
    REAL* W = shared;             // (H, 4H)
    REAL* h_now = W + 4 * H * H;  // (ROWS, H)
    REAL* a = h_now + ROWS * H;   // (ROWS, 4H)
    i64 r = threadIdx.x, first = i64(blockIdx.x) * ROWS;
    int rows = int(min(i64(ROWS), B - first));
    for (i64 n = threadIdx.x; n < 4 * H * H; n += blockDim.x) W[n % H * 4 * H + n / H] = args.W_hh[n];
    for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) h_now[n] = args.h[((args.reverse ? T : 0) * B + first) * H + n];
    REAL bias = r < 4 * H ? args.b_ih[r] + args.b_hh[r] : REAL(0);
    for (i64 step = 0; step < T; ++step) {
        i64 t = args.reverse ? T - 1 - step : step, before = args.reverse ? t + 1 : t, after = args.reverse ? t : t + 1;
        __syncthreads();  // h_now is written
        if (r < 4 * H) {
            REAL sum[ROWS] = {};
            for (i64 k = 0; k < H; ++k)
                for (int b = 0; b < ROWS; ++b)
                    if (b < rows) sum[b] += W[k * 4 * H + r] * h_now[b * H + k];
            for (int b = 0; b < ROWS; ++b)
                if (b < rows) {
                    REAL v = sum[b] + args.a_x[(t * B + first + b) * 4 * H + r] + bias;
                    a[b * 4 * H + r] = v = r / H == 2 ? tanh(v) : sigmoid(v);
                    args.gates[(t * B + first + b) * 4 * H + r] = v;
                }
        }
        __syncthreads();  // a is written, and h_now has been read
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H, at = first * H + n;
            const REAL* gate = a + b * 4 * H + j;
            REAL c_before = args.c[before * B * H + at];
            REAL c_t = gate[H] * c_before + gate[0] * gate[2 * H], h_t = gate[3 * H] * tanh(c_t);
            bool part = active(args.lengths, first + b, t);
            if (part) h_now[n] = h_t;
            args.h[after * B * H + at] = h_now[n];
            args.c[after * B * H + at] = part ? c_t : c_before;
            if (args.y) args.y[t * B * H + at] = part ? h_t : REAL(0);
        }
    }
}

extern "C" __global__ void lstm_persistent_backward(LstmBackward args) {
    i64 T = args.T, B = args.B, H = args.H;
    DYN_SHARED(REAL, shared);
    REAL* W = shared;              // (4H, H)
    REAL* da_now = W + 4 * H * H;  // (ROWS, 4H)
    i64 first = i64(blockIdx.x) * ROWS;
    int rows = int(min(i64(ROWS), B - first));
    for (i64 n = threadIdx.x; n < 4 * H * H; n += blockDim.x) W[n] = args.W_hh[n];
    for (i64 step = T - 1; step >= 0; --step) {
        i64 t = args.reverse ? T - 1 - step : step, before = args.reverse ? t + 1 : t, after = args.reverse ? t : t + 1;
        // A thread has the same elements of dh and dc in every step, so they need no barrier.
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H, at = first * H + n;
            const REAL* gate = args.gates + (t * B + first + b) * 4 * H + j;
            REAL i = gate[0], f = gate[H], g = gate[2 * H], o = gate[3 * H];
            bool part = active(args.lengths, first + b, t);
            REAL d = args.dy ? args.dh[at] + args.dy[t * B * H + at] : args.dh[at], tanh_c = tanh(args.c[after * B * H + at]);
            REAL dc_t = args.dc[at] + d * o * (1 - tanh_c * tanh_c);
            REAL by_gate[4] = {dc_t * g * i * (1 - i), dc_t * args.c[before * B * H + at] * f * (1 - f), dc_t * i * (1 - g * g),
                               d * tanh_c * o * (1 - o)};
            for (int k = 0; k < 4; ++k) {
                REAL v = part ? by_gate[k] : REAL(0);
                da_now[b * 4 * H + k * H + j] = v;
                args.da[(t * B + first + b) * 4 * H + k * H + j] = v;
            }
            if (part) args.dc[at] = dc_t * f, args.dh[at] = 0;
        }
        __syncthreads();  // da_now, and at first W, is written
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H;
            REAL sum = 0;
            for (i64 r = 0; r < 4 * H; ++r) sum += da_now[b * 4 * H + r] * W[r * H + j];
            args.dh[first * H + n] += sum;
        }
        __syncthreads();  // da_now has been read
    }
}
