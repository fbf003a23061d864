// GRU over all steps of a sequence, gates in the order r z n, the reset gate after the product. The input's products, and those of the
// weights' gradients, are cuBLAS's, over all steps at once; what the versions differ in is the recurrent product.
//
// version 1   For every step a product by cuBLAS and one kernel for all that is elementwise: 2 T launches, and the recurrent weights
//             are read from memory in every step. Runs for one step (a cell), and where no other version fits.
// version 2   One kernel for all steps, for H so small that a block's shared memory holds the recurrent weights (H <= 87 in float32):
//             they are read from memory once a sequence. A block has ROWS rows of the batch, which need no other block, for rows
//             never meet. Runs wherever it fits.
// version 3   sliced.cu: one kernel for all steps, the recurrent weights spread over the multiprocessors, whose blocks wait for one
//             another between two steps. Runs for other H, up to about 1,050 on an H200.
#include "minilm_cuda.h"
#include "gates.h"
#include "gru.h"

// --- version 1 ------------------------------------------------------------------------------------------------------

extern "C" __global__ void gru_step_forward(
    GruForward args,
    const REAL* a_h,  // (B, 3H) W_hh h'
    i64 t) {
    i64 B = args.B, H = args.H;
    i64 before = (args.reverse ? t + 1 : t) * B * H, after = (args.reverse ? t : t + 1) * B * H;
    for (i64 n = thread_of_grid(); n < B * H; n += threads_of_grid()) {
        i64 b = n / H, j = n % H, at = (t * B + b) * 3 * H + j;
        REAL a[3], u[3];
        for (int k = 0; k < 3; ++k) {
            a[k] = args.a_x[at + k * H] + args.b_ih[k * H + j];
            u[k] = a_h[(b * 3 + k) * H + j] + args.b_hh[k * H + j];
        }
        REAL r = sigmoid(a[0] + u[0]), z = sigmoid(a[1] + u[1]), new_ = tanh(a[2] + r * u[2]);
        REAL h_before = args.h[before + n], h = (1 - z) * new_ + z * h_before;
        args.gates[at] = r, args.gates[at + H] = z, args.gates[at + 2 * H] = new_;
        args.inner[t * B * H + n] = u[2];
        bool part = active(args.lengths, b, t);
        args.h[after + n] = part ? h : h_before;
        if (args.y) args.y[t * B * H + n] = part ? h : REAL(0);
    }
}

// da on the side of the input and dg on that of the state; dh becomes what goes past the product
extern "C" __global__ void gru_step_backward(GruBackward args, i64 t) {
    i64 B = args.B, H = args.H, before = (args.reverse ? t + 1 : t) * B * H;
    for (i64 n = thread_of_grid(); n < B * H; n += threads_of_grid()) {
        i64 b = n / H, j = n % H, at = (t * B + b) * 3 * H + j;
        bool part = active(args.lengths, b, t);
        REAL r = args.gates[at], z = args.gates[at + H], new_ = args.gates[at + 2 * H];
        REAL d = args.dy ? args.dh[n] + args.dy[t * B * H + n] : args.dh[n];
        REAL da_n = d * (1 - z) * (1 - new_ * new_), da_r = da_n * args.inner[t * B * H + n] * r * (1 - r);
        REAL da_z = d * (args.h[before + n] - new_) * z * (1 - z);
        args.da[at] = args.dg[at] = part ? da_r : REAL(0);
        args.da[at + H] = args.dg[at + H] = part ? da_z : REAL(0);
        args.da[at + 2 * H] = part ? da_n : REAL(0);
        args.dg[at + 2 * H] = part ? da_n * r : REAL(0);
        if (part) args.dh[n] = d * z;
    }
}

// --- version 2 ------------------------------------------------------------------------------------------------------

// Thread r of at least 3H has row r of W_hh, from shared memory, where it lies transposed: neighbours then read neighbours.
extern "C" __global__ void gru_persistent_forward(GruForward args) {
    i64 T = args.T, B = args.B, H = args.H;
    DYN_SHARED(REAL, shared);
    REAL* W = shared;             // (H, 3H)
    REAL* h_now = W + 3 * H * H;  // (ROWS, H)
    REAL* u = h_now + ROWS * H;   // (ROWS, 3H) W_hh h' + b_hh
    i64 r = threadIdx.x, first = i64(blockIdx.x) * ROWS;
    int rows = int(min(i64(ROWS), B - first));
    for (i64 n = threadIdx.x; n < 3 * H * H; n += blockDim.x) W[n % H * 3 * H + n / H] = args.W_hh[n];
    for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) h_now[n] = args.h[((args.reverse ? T : 0) * B + first) * H + n];
    for (i64 step = 0; step < T; ++step) {
        i64 t = args.reverse ? T - 1 - step : step, after = args.reverse ? t : t + 1;
        __syncthreads();  // h_now is written
        if (r < 3 * H) {
            REAL sum[ROWS] = {};
            for (i64 k = 0; k < H; ++k)
                for (int b = 0; b < ROWS; ++b)
                    if (b < rows) sum[b] += W[k * 3 * H + r] * h_now[b * H + k];
            for (int b = 0; b < ROWS; ++b)
                if (b < rows) u[b * 3 * H + r] = sum[b] + args.b_hh[r];
        }
        __syncthreads();  // u is written, and h_now has been read
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H, at = (t * B + first + b) * 3 * H + j;
            const REAL* u_b = u + b * 3 * H + j;
            REAL r_j = sigmoid(args.a_x[at] + args.b_ih[j] + u_b[0]), z = sigmoid(args.a_x[at + H] + args.b_ih[H + j] + u_b[H]);
            REAL new_ = tanh(args.a_x[at + 2 * H] + args.b_ih[2 * H + j] + r_j * u_b[2 * H]);
            REAL h_t = (1 - z) * new_ + z * h_now[n];
            args.gates[at] = r_j, args.gates[at + H] = z, args.gates[at + 2 * H] = new_;
            args.inner[(t * B + first) * H + n] = u_b[2 * H];
            bool part = active(args.lengths, first + b, t);
            if (part) h_now[n] = h_t;
            args.h[(after * B + first) * H + n] = h_now[n];
            if (args.y) args.y[(t * B + first) * H + n] = part ? h_t : REAL(0);
        }
    }
}

extern "C" __global__ void gru_persistent_backward(GruBackward args) {
    i64 T = args.T, B = args.B, H = args.H;
    DYN_SHARED(REAL, shared);
    REAL* W = shared;              // (3H, H)
    REAL* dg_now = W + 3 * H * H;  // (ROWS, 3H)
    i64 first = i64(blockIdx.x) * ROWS;
    int rows = int(min(i64(ROWS), B - first));
    for (i64 n = threadIdx.x; n < 3 * H * H; n += blockDim.x) W[n] = args.W_hh[n];
    for (i64 step = T - 1; step >= 0; --step) {
        i64 t = args.reverse ? T - 1 - step : step, before = args.reverse ? t + 1 : t;
        // A thread has the same elements of dh in every step, so they need no barrier.
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H, at = (t * B + first + b) * 3 * H + j, state = first * H + n;
            bool part = active(args.lengths, first + b, t);
            REAL r = args.gates[at], z = args.gates[at + H], new_ = args.gates[at + 2 * H];
            REAL d = args.dy ? args.dh[state] + args.dy[t * B * H + state] : args.dh[state];
            REAL da_n = d * (1 - z) * (1 - new_ * new_), da_r = da_n * args.inner[t * B * H + state] * r * (1 - r);
            REAL da_z = d * (args.h[before * B * H + state] - new_) * z * (1 - z);
            REAL by_gate[3] = {part ? da_r : REAL(0), part ? da_z : REAL(0), part ? da_n * r : REAL(0)};
            for (int k = 0; k < 3; ++k) dg_now[b * 3 * H + k * H + j] = args.dg[at + k * H] = by_gate[k];
            args.da[at] = by_gate[0], args.da[at + H] = by_gate[1], args.da[at + 2 * H] = part ? da_n : REAL(0);
            if (part) args.dh[state] = d * z;
        }
        __syncthreads();  // dg_now, and at first W, is written
        for (i64 n = threadIdx.x; n < rows * H; n += blockDim.x) {
            i64 b = n / H, j = n % H;
            REAL sum = 0;
            for (i64 r = 0; r < 3 * H; ++r) sum += dg_now[b * 3 * H + r] * W[r * H + j];
            args.dh[first * H + n] += sum;
        }
        __syncthreads();  // dg_now has been read
    }
}
