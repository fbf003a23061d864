// Additive attention. One version: the tanh of all sums, A times as large as the weights, is never stored, but computed again by each of
// the backward kernels.
//
// forward         A block a query: scores by warps, a softmax over the block, then y.
// dS              A warp a weight.
// dquery, dkey    A thread a number: sums of du = dS v (1 - t²), one over keys, the other over queries.
// dvalue          A thread a number.
#include "minilm_cuda.h"

struct AdditiveAttention {
    const REAL* query;   // (B, Tq, A)
    const REAL* key;     // (B, Tk, A)
    const REAL* v;       // (A)
    const REAL* value;   // (B, Tk, D)
    const u8* key_mask;  // (B, Tk) or null
    i64 B, Tq, Tk, A, D;
};

// Whether the mask shows key number n of (B, Tk). What stands at the others may be NaN, and is not even multiplied by a weight of 0.
__device__ inline bool shown(const u8* key_mask, i64 n) { return !key_mask || key_mask[n]; }

extern "C" __global__ void additive_attention_forward(
    AdditiveAttention args,
    REAL* weights,  // (B, Tq, Tk)
    REAL* y) {      // (B, Tq, D)
    i64 Tq = args.Tq, Tk = args.Tk, A = args.A, D = args.D;
    __shared__ REAL scratch[32];
    i64 b = blockIdx.x / Tq;
    const REAL* q = args.query + blockIdx.x * A;
    REAL* P = weights + blockIdx.x * Tk;  // the scores at first
    for (i64 j = warp(); j < Tk; j += blockDim.x / 32) {
        const REAL* k = args.key + (b * Tk + j) * A;
        REAL sum = 0;
        for (i64 a = lane(); a < A; a += 32) sum += args.v[a] * tanh(q[a] + k[a]);
        sum = warp_sum(sum);
        if (lane() == 0) P[j] = shown(args.key_mask, b * Tk + j) ? sum : -INFINITE;
    }
    __syncthreads();  // the scores are written
    REAL m = -INFINITE, l = 0;
    for (i64 j = threadIdx.x; j < Tk; j += blockDim.x) m = larger(m, P[j]);
    m = block_max(m, scratch);
    for (i64 j = threadIdx.x; j < Tk; j += blockDim.x) l += P[j] = P[j] == -INFINITE ? REAL(0) : exp(P[j] - m);
    l = block_sum(l, scratch);
    for (i64 j = threadIdx.x; j < Tk; j += blockDim.x) P[j] /= l == 0 ? REAL(1) : l;
    __syncthreads();  // the weights are written
    for (i64 d = threadIdx.x; d < D; d += blockDim.x) {
        REAL sum = 0;
        for (i64 j = 0; j < Tk; ++j)
            if (shown(args.key_mask, b * Tk + j)) sum += P[j] * args.value[(b * Tk + j) * D + d];
        y[blockIdx.x * D + d] = sum;
    }
}

// dS = weights (dweights - D)
extern "C" __global__ void additive_attention_dS(
    AdditiveAttention args,
    const REAL* dy,       // (B, Tq, D)
    const REAL* y,        // (B, Tq, D)
    const REAL* weights,  // (B, Tq, Tk)
    REAL* dS) {           // (B, Tq, Tk)
    i64 Tq = args.Tq, Tk = args.Tk, D = args.D;
    i64 n = i64(blockIdx.x) * (blockDim.x / 32) + warp();
    if (n >= args.B * Tq * Tk) return;
    i64 j = n / Tk / Tq * Tk + n % Tk;
    const REAL *g = dy + n / Tk * D, *y_i = y + n / Tk * D, *value_j = args.value + j * D;
    REAL dweight = 0, D_i = 0;
    for (i64 d = lane(); d < D; d += 32) dweight += g[d] * value_j[d], D_i += g[d] * y_i[d];
    dweight = warp_sum(dweight), D_i = warp_sum(D_i);
    if (lane() == 0) dS[n] = shown(args.key_mask, j) ? weights[n] * (dweight - D_i) : REAL(0);
}

extern "C" __global__ void additive_attention_dquery(
    AdditiveAttention args,
    const REAL* dS,   // (B, Tq, Tk)
    REAL* dquery,     // (B, Tq, A)
    REAL* dv_part) {  // (B, Tq, A) what a query adds to dv
    i64 Tq = args.Tq, Tk = args.Tk, A = args.A;
    for (i64 n = thread_of_grid(); n < args.B * Tq * A; n += threads_of_grid()) {
        i64 a = n % A, row = n / A, b = row / Tq;
        REAL sum = 0, by_v = 0;
        for (i64 j = 0; j < Tk; ++j) {
            if (!shown(args.key_mask, b * Tk + j)) continue;
            REAL t = tanh(args.query[n] + args.key[(b * Tk + j) * A + a]), d = dS[row * Tk + j];
            sum += d * args.v[a] * (1 - t * t);
            by_v += d * t;
        }
        dquery[n] = sum, dv_part[n] = by_v;
    }
}

extern "C" __global__ void additive_attention_dkey(
    AdditiveAttention args,
    const REAL* dS,  // (B, Tq, Tk)
    REAL* dkey) {    // (B, Tk, A)
    i64 Tq = args.Tq, Tk = args.Tk, A = args.A;
    for (i64 n = thread_of_grid(); n < args.B * Tk * A; n += threads_of_grid()) {
        i64 a = n % A, row = n / A, b = row / Tk, j = row % Tk;
        REAL sum = 0;
        for (i64 i = 0; i < Tq && shown(args.key_mask, row); ++i) {
            REAL t = tanh(args.query[(b * Tq + i) * A + a] + args.key[n]);
            sum += dS[(b * Tq + i) * Tk + j] * args.v[a] * (1 - t * t);
        }
        dkey[n] = sum;
    }
}

extern "C" __global__ void additive_attention_dvalue(
    AdditiveAttention args,
    const REAL* dy,       // (B, Tq, D)
    const REAL* weights,  // (B, Tq, Tk)
    REAL* dvalue) {       // (B, Tk, D)
    i64 Tq = args.Tq, Tk = args.Tk, D = args.D;
    for (i64 n = thread_of_grid(); n < args.B * Tk * D; n += threads_of_grid()) {
        i64 d = n % D, row = n / D, b = row / Tk, j = row % Tk;
        REAL sum = 0;
        for (i64 i = 0; i < Tq; ++i) sum += weights[(b * Tq + i) * Tk + j] * dy[(b * Tq + i) * D + d];
        dvalue[n] = sum;
    }
}
