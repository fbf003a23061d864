// LSTM, version 3: one kernel for all steps, the recurrent weights spread over the multiprocessors, for widths whose weights one block
// could not hold. Each block owns a slice of U units, with all four gates of them, and keeps its weights in shared memory; a step's
// states, or gradients, go from block to block through memory, with a barrier of the blocks between two steps.
//
// The batch may be divided into parts of R rows: blocks (0 ... slices - 1, part) work on one part, in tiles of at most 16 rows.
#include "minilm_cuda.h"
#include "gates.h"
#include "lstm.h"
#include "grid.h"
#include "slices.h"

// A thread has the same element (row of the tile, unit of the slice) in every step, so c, dc and dh, which it alone reads, need no
// barrier.
extern "C" __global__ void __launch_bounds__(THREADS) lstm_sliced_forward(
    LstmForward args,
    u32* arrived,  // (P)
    i64 P, int U, int R) {
    i64 T = args.T, B = args.B, H = args.H;
    DYN_SHARED(REAL, shared);
    i64 first_unit = i64(blockIdx.x) * U, first_row = i64(blockIdx.y) * R, end_row = min(first_row + R, B);
    int units = int(min(i64(U), H - first_unit));
    Team team_of = team(R, U, H);
    REAL* W = shared;                                          // (4U, pitch): gate k of unit u is row k U + u
    REAL* tile = W + 4 * U * pitch_of(H);                      // (rows, tile_pitch)
    REAL* partial = tile + team_of.rows * team_of.tile_pitch;  // (copies, rows, 4U)
    load_rows(args.W_hh, H, 4, first_unit, units, U, W);
    int row = int(threadIdx.x) / U, u = int(threadIdx.x) % U;
    i64 j = first_unit + u;
    REAL bias[4] = {};
    for (int k = 0; k < 4; ++k)
        if (u < units) bias[k] = args.b_ih[k * H + j] + args.b_hh[k * H + j];
    for (i64 step = 0; step < T; ++step) {
        i64 t = args.reverse ? T - 1 - step : step, before = args.reverse ? t + 1 : t, after = args.reverse ? t : t + 1;
        if (step) grid_barrier(arrived + blockIdx.y, u32(step * gridDim.x));  // h of the step before is written
        for (i64 at_row = first_row; at_row < end_row; at_row += team_of.rows) {
            int rows = int(min(i64(team_of.rows), end_row - at_row));
            bool in_tile = row < rows && u < units;
            i64 b = at_row + row, at = b * H + j;
            REAL a[4] = {}, c_before = 0;  // on their way from memory during the product
            if (in_tile) {
                for (int k = 0; k < 4; ++k) a[k] = args.a_x[(t * B + b) * 4 * H + k * H + j] + bias[k];
                c_before = args.c[before * B * H + at];
            }
            product<4>(args.h + (before * B + at_row) * H, rows, H, W, team_of, tile, partial);
            if (!in_tile) continue;
            for (int k = 0; k < 4; ++k) a[k] += total<4>(partial, team_of, row, k * U + u);
            REAL i = sigmoid(a[0]), f = sigmoid(a[1]), g = tanh(a[2]), o = sigmoid(a[3]);
            REAL c_t = f * c_before + i * g, h_t = o * tanh(c_t);
            bool part = active(args.lengths, b, t);
            args.h[after * B * H + at] = part ? h_t : args.h[before * B * H + at];
            args.c[after * B * H + at] = part ? c_t : c_before;
            if (args.y) args.y[t * B * H + at] = part ? h_t : REAL(0);
            REAL* gate = args.gates + (t * B + b) * 4 * H + j;
            gate[0] = i, gate[H] = f, gate[2 * H] = g, gate[3 * H] = o;
        }
    }
}

// Step by step from the last: dh from the product with da of the step after it, then da. After the first step one product is left,
// that of dh0.
extern "C" __global__ void __launch_bounds__(THREADS) lstm_sliced_backward(
    LstmBackward args,
    u32* arrived,  // (P)
    i64 P, int U, int R) {
    i64 T = args.T, B = args.B, H = args.H;
    DYN_SHARED(REAL, shared);
    i64 first_unit = i64(blockIdx.x) * U, first_row = i64(blockIdx.y) * R, end_row = min(first_row + R, B);
    int units = int(min(i64(U), H - first_unit)), outs = (U + OUTPUTS - 1) / OUTPUTS;
    Team team_of = team(R, outs, 4 * H);
    REAL* W = shared;                                          // (OUTPUTS outs, pitch): column u of the slice is row u
    REAL* tile = W + OUTPUTS * outs * pitch_of(4 * H);               // (rows, tile_pitch)
    REAL* partial = tile + team_of.rows * team_of.tile_pitch;  // (copies, rows, OUTPUTS outs)
    load_columns(args.W_hh, H, 4 * H, first_unit, units, OUTPUTS * outs, W);
    int row = int(threadIdx.x) / U, u = int(threadIdx.x) % U;
    i64 j = first_unit + u;
    for (i64 step = T - 1; step >= -1; --step) {
        i64 t = args.reverse ? T - 1 - step : step, before = args.reverse ? t + 1 : t, after = args.reverse ? t : t + 1;
        i64 later = args.reverse ? t - 1 : t + 1;  // the step that comes after this one
        bool last = step == T - 1;
        if (!last) grid_barrier(arrived + blockIdx.y, u32((T - 1 - step) * gridDim.x));  // da of the later step is written
        for (i64 at_row = first_row; at_row < end_row; at_row += team_of.rows) {
            int rows = int(min(i64(team_of.rows), end_row - at_row));
            bool in_tile = row < rows && u < units;
            i64 b = at_row + row, at = b * H + j;
            REAL i = 0, f = 0, g = 0, o = 0, c_before = 0, c_after = 0, dy_t = 0;  // on their way during the product
            if (in_tile && step >= 0) {
                const REAL* gate = args.gates + (t * B + b) * 4 * H + j;
                i = gate[0], f = gate[H], g = gate[2 * H], o = gate[3 * H];
                c_before = args.c[before * B * H + at], c_after = args.c[after * B * H + at];
                if (args.dy) dy_t = args.dy[t * B * H + at];
            }
            if (!last) product<OUTPUTS>(args.da + (later * B + at_row) * 4 * H, rows, 4 * H, W, team_of, tile, partial);
            if (!in_tile) continue;
            REAL past = last ? args.dh[at] : args.dh[at] + total<OUTPUTS>(partial, team_of, row, u);
            bool part = step >= 0 && active(args.lengths, b, t);
            args.dh[at] = part ? REAL(0) : past;  // what goes past the product
            if (step < 0) continue;
            REAL d = past + dy_t, tanh_c = tanh(c_after), dc_t = args.dc[at] + d * o * (1 - tanh_c * tanh_c);
            REAL* da_t = args.da + (t * B + b) * 4 * H + j;
            da_t[0] = part ? dc_t * g * i * (1 - i) : REAL(0);
            da_t[H] = part ? dc_t * c_before * f * (1 - f) : REAL(0);
            da_t[2 * H] = part ? dc_t * i * (1 - g * g) : REAL(0);
            da_t[3 * H] = part ? d * tanh_c * o * (1 - o) : REAL(0);
            if (part) args.dc[at] = dc_t * f;
        }
    }
}
