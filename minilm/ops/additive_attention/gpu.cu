// Additive attention: the tanh of all sums, A times as large as the weights, is never stored.
#include "minilm_cuda.h"

// Whether the mask shows key number n of (B, Tk). What stands at the others may be NaN, and is not even multiplied by a weight of 0.
__device__ inline bool shown(const u8* key_mask, i64 n) { return !key_mask || key_mask[n]; }

// One block a query: scores by warps, a softmax over the block, then y.
extern "C" __global__ void additive_attention_forward(
    const REAL* query,   // (B, Tq, A)
    const REAL* key,     // (B, Tk, A)
    const REAL* v,       // (A)
    const REAL* value,   // (B, Tk, D)
    const u8* key_mask,  // (B, Tk) or null
    REAL* weights,       // (B, Tq, Tk)
    REAL* y,             // (B, Tq, D)
    i64 B, i64 Tq, i64 Tk, i64 A, i64 D) {
    __shared__ REAL scratch[32];
    i64 b = blockIdx.x / Tq;
    const REAL* q = query + blockIdx.x * A;
    REAL* P = weights + blockIdx.x * Tk;  // the scores at first
    for (i64 j = warp(); j < Tk; j += blockDim.x / 32) {
        const REAL* k = key + (b * Tk + j) * A;
        REAL sum = 0;
        for (i64 a = lane(); a < A; a += 32) sum += v[a] * tanh(q[a] + k[a]);
        sum = warp_sum(sum);
        if (lane() == 0) P[j] = shown(key_mask, b * Tk + j) ? sum : -INFINITE;
    }
    __syncthreads();  // the scores are there
    REAL m = -INFINITE, l = 0;
    for (i64 j = threadIdx.x; j < Tk; j += blockDim.x) m = larger(m, P[j]);
    m = block_max(m, scratch);
    for (i64 j = threadIdx.x; j < Tk; j += blockDim.x) l += P[j] = P[j] == -INFINITE ? REAL(0) : exp(P[j] - m);
    l = block_sum(l, scratch);
    for (i64 j = threadIdx.x; j < Tk; j += blockDim.x) P[j] /= l == 0 ? REAL(1) : l;
    __syncthreads();  // the weights are there
    for (i64 d = threadIdx.x; d < D; d += blockDim.x) {
        REAL sum = 0;
        for (i64 j = 0; j < Tk; ++j)
            if (shown(key_mask, b * Tk + j)) sum += P[j] * value[(b * Tk + j) * D + d];
        y[blockIdx.x * D + d] = sum;
    }
}

// dS = weights (dweights - D), one warp a weight
extern "C" __global__ void additive_attention_dS(
    const REAL* dy,       // (B, Tq, D)
    const REAL* y,        // (B, Tq, D)
    const REAL* value,    // (B, Tk, D)
    const REAL* weights,  // (B, Tq, Tk)
    const u8* key_mask,   // (B, Tk) or null
    REAL* dS,             // (B, Tq, Tk)
    i64 B, i64 Tq, i64 Tk, i64 D) {
    i64 n = i64(blockIdx.x) * (blockDim.x / 32) + warp();
    if (n >= B * Tq * Tk) return;
    i64 j = n / Tk / Tq * Tk + n % Tk;
    const REAL *g = dy + n / Tk * D, *y_i = y + n / Tk * D, *value_j = value + j * D;
    REAL dweight = 0, D_i = 0;
    for (i64 d = lane(); d < D; d += 32) dweight += g[d] * value_j[d], D_i += g[d] * y_i[d];
    dweight = warp_sum(dweight), D_i = warp_sum(D_i);
    if (lane() == 0) dS[n] = shown(key_mask, j) ? weights[n] * (dweight - D_i) : REAL(0);
}

// dquery and dkey are sums of du = dS v (1 - t^2), one over keys, the other over queries; a thread an element of each
extern "C" __global__ void additive_attention_dquery(
    const REAL* query,  // (B, Tq, A)
    const REAL* key,    // (B, Tk, A)
    const REAL* v,      // (A)
    const REAL* dS,     // (B, Tq, Tk)
    const u8* key_mask, // (B, Tk) or null
    REAL* dquery,       // (B, Tq, A)
    REAL* dv_part,      // (B, Tq, A) what a query adds to dv
    i64 B, i64 Tq, i64 Tk, i64 A) {
    for (i64 n = thread_of_grid(); n < B * Tq * A; n += threads_of_grid()) {
        i64 a = n % A, row = n / A, b = row / Tq;
        REAL sum = 0, by_v = 0;
        for (i64 j = 0; j < Tk; ++j) {
            if (!shown(key_mask, b * Tk + j)) continue;
            REAL t = tanh(query[n] + key[(b * Tk + j) * A + a]), d = dS[row * Tk + j];
            sum += d * v[a] * (1 - t * t);
            by_v += d * t;
        }
        dquery[n] = sum, dv_part[n] = by_v;
    }
}

extern "C" __global__ void additive_attention_dkey(
    const REAL* query,  // (B, Tq, A)
    const REAL* key,    // (B, Tk, A)
    const REAL* v,      // (A)
    const REAL* dS,     // (B, Tq, Tk)
    const u8* key_mask, // (B, Tk) or null
    REAL* dkey,         // (B, Tk, A)
    i64 B, i64 Tq, i64 Tk, i64 A) {
    for (i64 n = thread_of_grid(); n < B * Tk * A; n += threads_of_grid()) {
        i64 a = n % A, row = n / A, b = row / Tk, j = row % Tk;
        REAL sum = 0;
        for (i64 i = 0; i < Tq && shown(key_mask, row); ++i) {
            REAL t = tanh(query[(b * Tq + i) * A + a] + key[n]);
            sum += dS[(b * Tq + i) * Tk + j] * v[a] * (1 - t * t);
        }
        dkey[n] = sum;
    }
}

extern "C" __global__ void additive_attention_dvalue(
    const REAL* dy,       // (B, Tq, D)
    const REAL* weights,  // (B, Tq, Tk)
    REAL* dvalue,         // (B, Tk, D)
    i64 B, i64 Tq, i64 Tk, i64 D) {
    for (i64 n = thread_of_grid(); n < B * Tk * D; n += threads_of_grid()) {
        i64 d = n % D, row = n / D, b = row / Tk, j = row % Tk;
        REAL sum = 0;
        for (i64 i = 0; i < Tq; ++i) sum += weights[(b * Tq + i) * Tk + j] * dy[(b * Tq + i) * D + d];
        dvalue[n] = sum;
    }
}
