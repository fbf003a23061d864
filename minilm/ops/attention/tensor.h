// What the kernels of version 3 of attention, in tensor.cu, are made of: tiles in shared memory, products of them by a warp, and the
// weights of a tile in its registers.
#pragma once
#include "mma.h"

// From gpu.py: BF16 (else tf32), WIDTH of a head, WARPS of a block, WORDS of a row of a tile and PITCH from one to the next, and the
// tiles' rows: COLUMNS keys in forward, KEYS in dquery, QUERIES in dkey_dvalue, whose two results fill the registers.
#define ROWS (16 * WARPS)   // of a block
#define OUT (WIDTH / 8)     // products side by side in a row of the result
#define LOG2_E 1.44269504f  // exponentials are powers of 2, which the hardware has
#define LN_2 0.693147181f

// `COUNT` rows of a head from number `first` on, rounded, to shared memory: (COUNT, PITCH) words; rows beyond `rows`, and those that
// a mask hides, become 0
template <int COUNT> __device__ inline void load_rows(u32* tile, Rows x, i64 first, i64 rows, i64 K, const u8* mask = nullptr) {
    bool by_four = K % 4 == 0 && x.step % 4 == 0 && i64(x.first) % 16 == 0;
#pragma unroll 4
    for (int n = threadIdx.x; n < COUNT * WIDTH / 4; n += 32 * WARPS) {
        int r = n / (WIDTH / 4), c = n % (WIDTH / 4) * 4;
        float4 v = {0, 0, 0, 0};
        if (first + r < rows && c < K && (!mask || mask[first + r])) {
            const REAL* from = x[first + r] + c;
            if (by_four) v = *reinterpret_cast<const float4*>(from);
            else v = {from[0], c + 1 < K ? from[1] : 0, c + 2 < K ? from[2] : 0, c + 3 < K ? from[3] : 0};
        }
        u32* to = tile + r * PITCH + c * WORDS / WIDTH;
        if (BF16) put_words(to, bf16_pair(v.x, v.y), bf16_pair(v.z, v.w));
        else put_words(to, tf32(v.x), tf32(v.y), tf32(v.z), tf32(v.w));
    }
}

__device__ inline void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    if (BF16) mma_bf16(c, a, b0, b1);
    else mma_tf32(c, a, b0, b1);
}

// S = A Bᵀ, from 16 rows and 8 N rows in shared memory. In words, fragments of bf16 and of tf32 are the same.
template <int N> __device__ inline void scores(float (&S)[N][4], const u32* A, const u32* B) {
    u32 m = lane() / 8, r = lane() % 8;
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) S[n][e] = 0;
#pragma unroll
    for (int k = 0; k < WORDS; k += 8) {
        u32 a[4];
        load_matrices(a, A + (m % 2 * 8 + r) * PITCH + k + m / 2 * 4);
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            u32 b[4];
            load_matrices(b, B + (n * 8 + m / 2 * 8 + r) * PITCH + k + m % 2 * 4);
            multiply(S[n], a, b[0], b[1]);
            multiply(S[n + 1], a, b[2], b[3]);
        }
    }
}

// out += P B: P (16, 8 N) as `scores` leaves it in registers, B (8 N, WIDTH) in shared memory.
//
// Two results of 8 columns are the fragment of 16 that bf16 wants, by the table in mma.h. For tf32 the columns 2t and 2t + 1 that a
// lane has are put where the fragment has t and t + 4: a sum over columns may be taken in any order, if B's rows follow.
template <int N> __device__ inline void add_product(float (&out)[OUT][4], const float (&P)[N][4], const u32* B) {
    u32 g = lane() / 4, t = lane() % 4, m = lane() / 8, r = lane() % 8;
    __syncwarp();  // a product wants the lanes at one place, from which masks before may have parted them
    if (BF16) {
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            u32 a[4] = {bf16_pair(P[n][0], P[n][1]), bf16_pair(P[n][2], P[n][3]), bf16_pair(P[n + 1][0], P[n + 1][1]),
                        bf16_pair(P[n + 1][2], P[n + 1][3])};
#pragma unroll
            for (int c = 0; c < OUT; c += 2) {
                u32 b[4];
                load_matrices_transposed(b, B + (n * 8 + m % 2 * 8 + r) * PITCH + (c + m / 2) * 4);
                mma_bf16(out[c], a, b[0], b[1]);
                mma_bf16(out[c + 1], a, b[2], b[3]);
            }
        }
    } else {
#pragma unroll
        for (int n = 0; n < N; ++n) {
            u32 a[4] = {tf32(P[n][0]), tf32(P[n][2]), tf32(P[n][1]), tf32(P[n][3])};
            const u32* b = B + (n * 8 + 2 * t) * PITCH + g;
#pragma unroll
            for (int c = 0; c < OUT; ++c) mma_tf32(out[c], a, b[8 * c], b[PITCH + 8 * c]);
        }
    }
}

// Dropout's factors of the four weights that a lane has of a score tile: rows i and i + 8 and columns j and j + 1, or with `TRANSPOSED` the
// same of keys by queries. Four neighbours of a row of weights are one block of random words, and belong to two lanes, or to four:
// where rows begin with a block, each lane computes one of theirs, and they exchange.
template <bool TRANSPOSED> __device__ inline void factors(float (&f)[4], Drop drop, i64 head, i64 Tq, i64 Tk, i64 row, i64 column) {
    if (!drop.drops) {
        f[0] = f[1] = f[2] = f[3] = 1;
        return;
    }
    auto at = [&](int e) {  // the place of element e in (B, H, Tq, Tk)
        i64 x = row + e / 2 * 8, y = column + e % 2;
        return TRANSPOSED ? (head * Tq + y) * Tk + x : (head * Tq + x) * Tk + y;
    };
    if (Tk % 4) {
#pragma unroll
        for (int e = 0; e < 4; ++e) f[e] = drop(at(e));
        return;
    }
    u32 w[4];
    if (TRANSPOSED) {  // lanes of four neighbouring rows; lane q of them computes the block of element q, for its column
        u32 q = lane() / 4 % 4;
        Words drawn = drop.words(u32((at(q) - q) / 4));
        bool odd = q % 2, upper = q / 2;
#pragma unroll
        for (int e = 0; e < 4; ++e) w[e] = drawn.w[e];
#pragma unroll
        for (int e = 0; e < 4; e += 2) {  // word q of element e is wanted: the matrix of lanes by words is transposed
            u32 got = __shfl_xor_sync(WHOLE_WARP, odd ? w[e] : w[e + 1], 4);
            (odd ? w[e] : w[e + 1]) = got;
        }
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            u32 got = __shfl_xor_sync(WHOLE_WARP, upper ? w[e] : w[e + 2], 8);
            (upper ? w[e] : w[e + 2]) = got;
        }
    } else {  // lanes of two neighbouring pairs of columns; the first computes the block of the upper row, the other of the lower
        bool odd = lane() % 2;
        Words drawn = drop.words(u32((at(odd ? 2 : 0) - (odd ? 2 : 0)) / 4));
        u32 first = __shfl_xor_sync(WHOLE_WARP, odd ? drawn.w[0] : drawn.w[2], 1);
        u32 second = __shfl_xor_sync(WHOLE_WARP, odd ? drawn.w[1] : drawn.w[3], 1);
        w[0] = odd ? first : drawn.w[0], w[1] = odd ? second : drawn.w[1];
        w[2] = odd ? drawn.w[2] : first, w[3] = odd ? drawn.w[3] : second;
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) f[e] = w[e] >= drop.threshold ? drop.factor : 0;
}

// Of a row over the four lanes that share it.
__device__ inline float quad_max(float v) {
    v = larger(v, __shfl_xor_sync(WHOLE_WARP, v, 1));
    return larger(v, __shfl_xor_sync(WHOLE_WARP, v, 2));
}
__device__ inline float quad_sum(float v) {
    v += __shfl_xor_sync(WHOLE_WARP, v, 1);
    return v + __shfl_xor_sync(WHOLE_WARP, v, 2);
}

// A warp's result, rows `first` to `first` + 15 of a head of an array (B, rows, H, K)
__device__ inline void store(REAL* to, const float (&out)[OUT][4], float upper, float lower, i64 b, i64 h, i64 first, i64 rows, i64 H,
                             i64 K) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
        i64 i = first + lane() / 4 + e / 2 * 8;
        REAL* row = to + ((b * rows + i) * H + h) * K;
#pragma unroll
        for (int n = 0; n < OUT; ++n) {
            int c = 8 * n + lane() % 4 * 2 + e % 2;
            if (i < rows && c < K) row[c] = out[n][e] * (e < 2 ? upper : lower);
        }
    }
}

// The score of a product, as a power of 2.
__device__ inline float in_twos(Score score, float dot) {
    return score.softcap > 0 ? score(dot) * LOG2_E : dot * (score.scale * LOG2_E);
}

// P with dropout's factor in the place of the scores S, and dS but for the scale in the place of dP. `TRANSPOSED` where rows are keys; m and
// D are those of the lane's four elements.
template <bool TRANSPOSED> __device__ inline void weights_and_gradients(float (&S)[4], float (&dP)[4], const float (&m)[4], const float (&D)[4],
                                                                     See see, Drop drop, Score score, bool all, i64 head, i64 row, i64 column) {
    float f[4];
    factors<TRANSPOSED>(f, drop, head, see.Tq, see.Tk, row, column);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
        i64 x = row + e / 2 * 8, y = column + e % 2;
        bool seen = all || see.within(TRANSPOSED ? y : x, TRANSPOSED ? x : y);
        float s = in_twos(score, S[e]), P = seen ? exp2f(s - m[e]) : 0;
        dP[e] = seen ? P * (f[e] * dP[e] - D[e]) * score.slope(s * LN_2) : 0;
        S[e] = P * f[e];
    }
}

// What is subtracted from a score, as a power of 2; 0 for a row that sees nothing.
__device__ inline float less_of(float logsumexp) { return logsumexp == -INFINITE ? 0 : logsumexp * LOG2_E; }
