// The recurrent product of a block that keeps its slice of the weights in shared memory for all steps: a few rows of
//
//     out (rows, M) = V (rows, K) W (M, K)ᵀ
//
// where V are the numbers of a step that all blocks have written (the states forward, the gates' gradients backward), and W the
// slice. As a product in one block it is far from cuBLAS's sizes, and its speed hangs on three things.
//
// - Registers: a thread has EACH rows times OUT outputs. For four columns it reads EACH + OUT vectors from shared memory and does
//   4 EACH OUT multiplications with them.
// - All threads work, though a tile of 16 rows and 64 outputs is the work of 32: there are `copies` of these threads, and each copy
//   has every copies-th four columns. The copies' sums are added at last, always in the same order.
// - V comes in chunks of AHEAD columns a thread. While a chunk is multiplied, the next is on its way into registers.
//
// In shared memory rows are `pitch` numbers apart, so that vectors of neighbouring rows lie in different banks. What is beyond K, rows
// or the slice is zero. ROW_BYTES, GROUPS, AHEAD, THREADS, OUTPUTS and PAD come from slices.py.
#pragma once

#define EACH int(ROW_BYTES / sizeof(REAL))  // rows of V to a thread; a tile has up to EACH * GROUPS

struct alignas(16) Four {
    REAL v[4];
};
__device__ inline const Four& four(const REAL* at) { return *reinterpret_cast<const Four*>(at); }

__device__ inline int pitch_of(i64 columns) { return int((columns + 3) / 4 * 4 + PAD); }

// How a block's threads share the tile: thread (copy, group, out) has rows group, group + groups, ... and outputs out, out + outs, ...
struct Team {
    int groups, outs, copies;
    int copy, group, out;
    int rows;        // of a tile
    int tile_pitch;  // numbers between its rows
};

__device__ inline Team team(int rows, int outs, i64 K) {
    Team t;
    int n = int(threadIdx.x);
    t.groups = rows > EACH ? GROUPS : 1;
    t.outs = outs;
    t.copies = int(min(i64(blockDim.x) / (t.groups * outs), (K + 3) / 4));
    t.copy = n / (t.groups * outs);
    t.group = n / outs % t.groups;
    t.out = n % outs;
    t.rows = EACH * t.groups;
    t.tile_pitch = AHEAD * int(blockDim.x) + PAD;
    return t;
}

// Columns first + threadIdx.x + a blockDim.x of all rows: neighbours read neighbours.
__device__ inline void fetch(const REAL* V, int rows, i64 K, i64 first, REAL (&next)[EACH * GROUPS][AHEAD]) {
#pragma unroll
    for (int r = 0; r < EACH * GROUPS; ++r)
#pragma unroll
        for (int a = 0; a < AHEAD; ++a) {
            i64 k = first + a * int(blockDim.x) + int(threadIdx.x);
            next[r][a] = r < rows && k < K ? V[r * K + k] : REAL(0);
        }
}

// Writes the copies' sums to partial (copies, t.rows, outs OUT), in shared memory as tile (t.rows, t.tile_pitch) and W. All threads
// of the block call it; when it returns they may read partial, and until they call it again.
template <int OUT>
__device__ inline void product(const REAL* V, int rows, i64 K, const REAL* W, const Team& t, REAL* tile, REAL* partial) {
    int chunk = AHEAD * int(blockDim.x), pitch = pitch_of(K);
    REAL sum[EACH][OUT] = {}, next[EACH * GROUPS][AHEAD];
    fetch(V, rows, K, 0, next);
    for (i64 first = 0; first < K; first += chunk) {
        if (first) __syncthreads();  // the chunk before has been read
#pragma unroll
        for (int r = 0; r < EACH * GROUPS; ++r)
            if (r < t.rows)
#pragma unroll
                for (int a = 0; a < AHEAD; ++a) tile[r * t.tile_pitch + a * int(blockDim.x) + int(threadIdx.x)] = next[r][a];
        __syncthreads();  // the chunk is written, and before the first product W
        fetch(V, rows, K, first + chunk, next);
        int width = int(min(i64(chunk), K - first));
        for (int k = 4 * t.copy; t.copy < t.copies && k < width; k += 4 * t.copies) {
            Four w[OUT];
#pragma unroll
            for (int o = 0; o < OUT; ++o) w[o] = four(W + (t.out + o * t.outs) * pitch + first + k);
#pragma unroll
            for (int i = 0; i < EACH; ++i) {
                Four v = four(tile + (t.group + i * t.groups) * t.tile_pitch + k);
#pragma unroll
                for (int o = 0; o < OUT; ++o)
#pragma unroll
                    for (int n = 0; n < 4; ++n) sum[i][o] += v.v[n] * w[o].v[n];
            }
        }
    }
    if (t.copy < t.copies)
#pragma unroll
        for (int i = 0; i < EACH; ++i)
#pragma unroll
            for (int o = 0; o < OUT; ++o)
                partial[((t.copy * t.rows) + t.group + i * t.groups) * t.outs * OUT + t.out + o * t.outs] = sum[i][o];
    __syncthreads();  // partial is written
}

// One output of the product: the sum of the copies' sums.
template <int OUT> __device__ inline REAL total(const REAL* partial, const Team& t, int row, int output) {
    REAL sum = 0;
    for (int copy = 0; copy < t.copies; ++copy) sum += partial[(copy * t.rows + row) * t.outs * OUT + output];
    return sum;
}

// The slice forward: rows first ... first + units of each of the gates of W_hh (gates H, H), to W (gates U, pitch).
__device__ inline void load_rows(const REAL* W_hh, i64 H, int gates, i64 first, int units, int U, REAL* W) {
    int pitch = pitch_of(H);
    for (int n = int(threadIdx.x); n < gates * U * pitch; n += int(blockDim.x)) {
        int m = n / pitch, k = n % pitch, u = m % U;
        W[n] = u < units && k < H ? W_hh[(m / U * H + first + u) * H + k] : REAL(0);
    }
}

// The slice backward: columns first ... first + units of W_hh (K, H), transposed, to W (M, pitch).
__device__ inline void load_columns(const REAL* W_hh, i64 H, i64 K, i64 first, int units, int M, REAL* W) {
    int pitch = pitch_of(K);
    for (int n = int(threadIdx.x); n < M * pitch; n += int(blockDim.x)) {
        int k = n / M, u = n % M;
        W[u * pitch + k] = u < units && k < K ? W_hh[k * H + first + u] : REAL(0);
    }
}
