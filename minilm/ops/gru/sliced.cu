// GRU, version 3: one kernel for all steps, the recurrent weights spread over the multiprocessors; see lstm/sliced.cu.
//
// Each block owns a slice of U units, with all three gates of them, and works on a part of R rows of the batch in tiles of at most 16.
#include "minilm_cuda.h"
#include "gates.h"
#include "grid.h"
#include "slices.h"

// A thread has the same element (row of the tile, unit of the slice) in every step, so what it alone reads needs no barrier.
extern "C" __global__ void __launch_bounds__(THREADS) gru_sliced_forward(
    const REAL* a_x,     // (T, B, 3H)
    const REAL* W_hh,    // (3H, H)
    const REAL* b_ih,    // (3H)
    const REAL* b_hh,    // (3H)
    const i64* lengths,  // (B) or null
    REAL* gates,         // (T, B, 3H)
    REAL* inner,         // (T, B, H)
    REAL* h,             // (T + 1, B, H)
    REAL* y,             // (T, B, H) or null
    u32* arrived,        // (P)
    i64 T, i64 B, i64 H, i64 P, int U, int R, int reverse) {
    DYN_SHARED(REAL, shared);
    i64 first_unit = i64(blockIdx.x) * U, first_row = i64(blockIdx.y) * R, end_row = min(first_row + R, B);
    int units = int(min(i64(U), H - first_unit));
    Team team_of = team(R, U, H);
    REAL* W = shared;                                          // (3U, pitch): gate k of unit u is row k U + u
    REAL* tile = W + 3 * U * pitch_of(H);                      // (rows, tile_pitch)
    REAL* partial = tile + team_of.rows * team_of.tile_pitch;  // (copies, rows, 3U)
    load_rows(W_hh, H, 3, first_unit, units, U, W);
    int row = int(threadIdx.x) / U, u = int(threadIdx.x) % U;
    i64 j = first_unit + u;
    REAL bias_x[3] = {}, bias_h[3] = {};
    for (int k = 0; k < 3; ++k)
        if (u < units) bias_x[k] = b_ih[k * H + j], bias_h[k] = b_hh[k * H + j];
    for (i64 step = 0; step < T; ++step) {
        i64 t = reverse ? T - 1 - step : step, before = reverse ? t + 1 : t, after = reverse ? t : t + 1;
        if (step) grid_barrier(arrived + blockIdx.y, u32(step * gridDim.x));  // h of the step before is there
        for (i64 at_row = first_row; at_row < end_row; at_row += team_of.rows) {
            int rows = int(min(i64(team_of.rows), end_row - at_row));
            bool mine = row < rows && u < units;
            i64 b = at_row + row, at = b * H + j, gate = (t * B + b) * 3 * H + j;
            REAL a[3] = {}, w[3], h_before = 0;  // a is on its way from memory during the product
            if (mine) {
                for (int k = 0; k < 3; ++k) a[k] = a_x[gate + k * H] + bias_x[k];
                h_before = h[before * B * H + at];
            }
            product<3>(h + (before * B + at_row) * H, rows, H, W, team_of, tile, partial);
            if (!mine) continue;
            for (int k = 0; k < 3; ++k) w[k] = total<3>(partial, team_of, row, k * U + u) + bias_h[k];
            REAL r = sigmoid(a[0] + w[0]), z = sigmoid(a[1] + w[1]), new_ = tanh(a[2] + r * w[2]);
            REAL h_t = (1 - z) * new_ + z * h_before;
            bool part = active(lengths, b, t);
            h[after * B * H + at] = part ? h_t : h_before;
            if (y) y[t * B * H + at] = part ? h_t : REAL(0);
            gates[gate] = r, gates[gate + H] = z, gates[gate + 2 * H] = new_;
            inner[t * B * H + at] = w[2];
        }
    }
}

// Step by step from the last: dh from the product with dg of the step after it, then da and dg. After the first step one product is
// left, that of dh0.
extern "C" __global__ void __launch_bounds__(THREADS) gru_sliced_backward(
    const REAL* dy,      // (T, B, H) or null
    const REAL* h,       // (T + 1, B, H)
    const REAL* gates,   // (T, B, 3H)
    const REAL* inner,   // (T, B, H)
    const REAL* W_hh,    // (3H, H)
    const i64* lengths,  // (B) or null
    REAL* dh,            // (B, H)
    REAL* da,            // (T, B, 3H)
    REAL* dg,            // (T, B, 3H)
    u32* arrived,        // (P)
    i64 T, i64 B, i64 H, i64 P, int U, int R, int reverse) {
    DYN_SHARED(REAL, shared);
    i64 first_unit = i64(blockIdx.x) * U, first_row = i64(blockIdx.y) * R, end_row = min(first_row + R, B);
    int units = int(min(i64(U), H - first_unit)), outs = (U + 3) / 4;
    Team team_of = team(R, outs, 3 * H);
    REAL* W = shared;                                          // (4 outs, pitch): column u of the slice is row u
    REAL* tile = W + 4 * outs * pitch_of(3 * H);               // (rows, tile_pitch)
    REAL* partial = tile + team_of.rows * team_of.tile_pitch;  // (copies, rows, 4 outs)
    load_columns(W_hh, H, 3 * H, first_unit, units, 4 * outs, W);
    int row = int(threadIdx.x) / U, u = int(threadIdx.x) % U;
    i64 j = first_unit + u;
    for (i64 step = T - 1; step >= -1; --step) {
        i64 t = reverse ? T - 1 - step : step, before = reverse ? t + 1 : t;
        i64 later = reverse ? t - 1 : t + 1;  // the step that comes after this one
        bool last = step == T - 1;
        if (!last) grid_barrier(arrived + blockIdx.y, u32((T - 1 - step) * gridDim.x));  // dg of the later step is there
        for (i64 at_row = first_row; at_row < end_row; at_row += team_of.rows) {
            int rows = int(min(i64(team_of.rows), end_row - at_row));
            bool mine = row < rows && u < units;
            i64 b = at_row + row, at = b * H + j, gate = (t * B + b) * 3 * H + j;
            REAL r = 0, z = 0, new_ = 0, w = 0, h_before = 0, dy_t = 0;  // on their way during the product
            if (mine && step >= 0) {
                r = gates[gate], z = gates[gate + H], new_ = gates[gate + 2 * H];
                w = inner[t * B * H + at], h_before = h[before * B * H + at];
                if (dy) dy_t = dy[t * B * H + at];
            }
            if (!last) product<4>(dg + (later * B + at_row) * 3 * H, rows, 3 * H, W, team_of, tile, partial);
            if (!mine) continue;
            REAL past = last ? dh[at] : dh[at] + total<4>(partial, team_of, row, u);
            bool part = step >= 0 && active(lengths, b, t);
            REAL d = past + dy_t;
            dh[at] = part ? d * z : past;  // what goes past the product
            if (step < 0) continue;
            REAL da_n = d * (1 - z) * (1 - new_ * new_), da_r = da_n * w * r * (1 - r);
            REAL da_z = d * (h_before - new_) * z * (1 - z);
            da[gate] = dg[gate] = part ? da_r : REAL(0);
            da[gate + H] = dg[gate + H] = part ? da_z : REAL(0);
            da[gate + 2 * H] = part ? da_n : REAL(0);
            dg[gate + 2 * H] = part ? da_n * r : REAL(0);
        }
    }
}
