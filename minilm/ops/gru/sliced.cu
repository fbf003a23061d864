// GRU, version 3: one kernel for all steps, the recurrent weights spread over the multiprocessors; see lstm/sliced.cu.
//
// Each block owns a slice of U units, with all three gates of them, and works on a part of R rows of the batch in tiles of at most 16.
#include "minilm_cuda.h"
#include "gates.h"
#include "gru.h"
#include "grid.h"
#include "slices.h"

// A thread has the same element (row of the tile, unit of the slice) in every step, so what it alone reads needs no barrier.
extern "C" __global__ void __launch_bounds__(THREADS) gru_sliced_forward(
    GruForward args,
    u32* arrived,  // (P)
    i64 P, int U, int R) {
    i64 T = args.T, B = args.B, H = args.H;
    DYN_SHARED(REAL, shared);
    i64 first_unit = i64(blockIdx.x) * U, first_row = i64(blockIdx.y) * R, end_row = min(first_row + R, B);
    int units = int(min(i64(U), H - first_unit));
    Team team_of = team(R, U, H);
    REAL* W = shared;                                          // (3U, pitch): gate k of unit u is row k U + u
    REAL* tile = W + 3 * U * pitch_of(H);                      // (rows, tile_pitch)
    REAL* partial = tile + team_of.rows * team_of.tile_pitch;  // (copies, rows, 3U)
    load_rows(args.W_hh, H, 3, first_unit, units, U, W);
    int row = int(threadIdx.x) / U, u = int(threadIdx.x) % U;
    i64 j = first_unit + u;
    REAL bias_x[3] = {}, bias_h[3] = {};
    for (int k = 0; k < 3; ++k)
        if (u < units) bias_x[k] = args.b_ih[k * H + j], bias_h[k] = args.b_hh[k * H + j];
    for (i64 step = 0; step < T; ++step) {
        i64 t = args.reverse ? T - 1 - step : step, before = args.reverse ? t + 1 : t, after = args.reverse ? t : t + 1;
        if (step) grid_barrier(arrived + blockIdx.y, u32(step * gridDim.x));  // h of the step before is written
        for (i64 at_row = first_row; at_row < end_row; at_row += team_of.rows) {
            int rows = int(min(i64(team_of.rows), end_row - at_row));
            bool in_tile = row < rows && u < units;
            i64 b = at_row + row, at = b * H + j, gate = (t * B + b) * 3 * H + j;
            REAL a[3] = {}, w[3], h_before = 0;  // a is on its way from memory during the product
            if (in_tile) {
                for (int k = 0; k < 3; ++k) a[k] = args.a_x[gate + k * H] + bias_x[k];
                h_before = args.h[before * B * H + at];
            }
            product<3>(args.h + (before * B + at_row) * H, rows, H, W, team_of, tile, partial);
            if (!in_tile) continue;
            for (int k = 0; k < 3; ++k) w[k] = total<3>(partial, team_of, row, k * U + u) + bias_h[k];
            REAL r = sigmoid(a[0] + w[0]), z = sigmoid(a[1] + w[1]), new_ = tanh(a[2] + r * w[2]);
            REAL h_t = (1 - z) * new_ + z * h_before;
            bool part = active(args.lengths, b, t);
            args.h[after * B * H + at] = part ? h_t : h_before;
            if (args.y) args.y[t * B * H + at] = part ? h_t : REAL(0);
            args.gates[gate] = r, args.gates[gate + H] = z, args.gates[gate + 2 * H] = new_;
            args.inner[t * B * H + at] = w[2];
        }
    }
}

// Step by step from the last: dh from the product with dg of the step after it, then da and dg. After the first step one product is
// left, that of dh0.
extern "C" __global__ void __launch_bounds__(THREADS) gru_sliced_backward(
    GruBackward args,
    u32* arrived,  // (P)
    i64 P, int U, int R) {
    i64 T = args.T, B = args.B, H = args.H;
    DYN_SHARED(REAL, shared);
    i64 first_unit = i64(blockIdx.x) * U, first_row = i64(blockIdx.y) * R, end_row = min(first_row + R, B);
    int units = int(min(i64(U), H - first_unit)), outs = (U + OUTPUTS - 1) / OUTPUTS;
    Team team_of = team(R, outs, 3 * H);
    REAL* W = shared;                                          // (OUTPUTS outs, pitch): column u of the slice is row u
    REAL* tile = W + OUTPUTS * outs * pitch_of(3 * H);               // (rows, tile_pitch)
    REAL* partial = tile + team_of.rows * team_of.tile_pitch;  // (copies, rows, OUTPUTS outs)
    load_columns(args.W_hh, H, 3 * H, first_unit, units, OUTPUTS * outs, W);
    int row = int(threadIdx.x) / U, u = int(threadIdx.x) % U;
    i64 j = first_unit + u;
    for (i64 step = T - 1; step >= -1; --step) {
        i64 t = args.reverse ? T - 1 - step : step, before = args.reverse ? t + 1 : t;
        i64 later = args.reverse ? t - 1 : t + 1;  // the step that comes after this one
        bool last = step == T - 1;
        if (!last) grid_barrier(arrived + blockIdx.y, u32((T - 1 - step) * gridDim.x));  // dg of the later step is written
        for (i64 at_row = first_row; at_row < end_row; at_row += team_of.rows) {
            int rows = int(min(i64(team_of.rows), end_row - at_row));
            bool in_tile = row < rows && u < units;
            i64 b = at_row + row, at = b * H + j, gate = (t * B + b) * 3 * H + j;
            REAL r = 0, z = 0, new_ = 0, w = 0, h_before = 0, dy_t = 0;  // on their way during the product
            if (in_tile && step >= 0) {
                r = args.gates[gate], z = args.gates[gate + H], new_ = args.gates[gate + 2 * H];
                w = args.inner[t * B * H + at], h_before = args.h[before * B * H + at];
                if (args.dy) dy_t = args.dy[t * B * H + at];
            }
            if (!last) product<OUTPUTS>(args.dg + (later * B + at_row) * 3 * H, rows, 3 * H, W, team_of, tile, partial);
            if (!in_tile) continue;
            REAL past = last ? args.dh[at] : args.dh[at] + total<OUTPUTS>(partial, team_of, row, u);
            bool part = step >= 0 && active(args.lengths, b, t);
            REAL d = past + dy_t;
            args.dh[at] = part ? d * z : past;  // what goes past the product
            if (step < 0) continue;
            REAL da_n = d * (1 - z) * (1 - new_ * new_), da_r = da_n * w * r * (1 - r);
            REAL da_z = d * (h_before - new_) * z * (1 - z);
            args.da[gate] = args.dg[gate] = part ? da_r : REAL(0);
            args.da[gate + H] = args.dg[gate + H] = part ? da_z : REAL(0);
            args.da[gate + 2 * H] = part ? da_n : REAL(0);
            args.dg[gate + 2 * H] = part ? da_n * r : REAL(0);
        }
    }
}
