// Attention of one query a row to the keys of a cache, as in generation. A tile of 16 queries would have 15 empty rows, and one block a
// head would walk through all keys alone; here the keys are cut into chunks, a block each (FlashDecoding: T. Dao, D. Haziza,
// F. Massa, G. Sizov, 2023), and what the chunks give is put together as tiles are. Without dropout.
#include "minilm_cuda.h"
#include "see.h"

// Of each chunk the largest score m, the sum s of exp(S - m), and the sum o of exp(S - m) value; the result itself where there is
// one chunk only.
extern "C" __global__ void attention_one_query(
    Attention args,
    REAL* m_parts,      // (B, H, C)
    REAL* s_parts,      // (B, H, C)
    REAL* o_parts,      // (B, H, C, Kv)
    REAL* y,            // (B, Tq, H, Kv)
    REAL* logsumexp,    // (B, H, Tq)
    i64 C) {
    DYN_SHARED(REAL, q_shared);  // (K)
    __shared__ REAL p_shared[CHUNK], largest[32], scratch[32];
    i64 Tk = args.Tk, K = args.K, Kv = args.Kv, first = i64(blockIdx.x) * CHUNK, j = first + threadIdx.x;
    auto [b, h, head, q, k, v, see, drop, score] = head_of(args, blockIdx.y);
    for (i64 n = threadIdx.x; n < K; n += blockDim.x) q_shared[n] = q[0][n];
    __syncthreads();  // the query is written
    REAL S = j < Tk && see(0, j) ? score(dot(q_shared, k[j], K)) : -INFINITE;
    REAL m = block_max(S, largest), p = weight_of(S, m);
    p_shared[threadIdx.x] = p;
    REAL s = block_sum(p, scratch);  // in which every thread waits: the weights are written
    i64 keys = m == -INFINITE ? 0 : min(i64(CHUNK), Tk - first);  // none where a mask shows none: a cache's room for later tokens
    i64 part = blockIdx.y * C + blockIdx.x;
    for (i64 c = threadIdx.x; c < Kv; c += blockDim.x) {
        REAL o = 0;
#pragma unroll 16
        for (i64 u = 0; u < keys; ++u)  // in flight together: what takes time is to wait for memory
            o += see.shown(first + u) ? p_shared[u] * v[first + u][c] : REAL(0);
        if (C == 1) y[blockIdx.y * Kv + c] = s == 0 ? REAL(0) : o / s;
        else o_parts[part * Kv + c] = o;
    }
    if (threadIdx.x == 0) {
        if (C == 1) logsumexp[blockIdx.y] = m == -INFINITE && s == 0 ? -INFINITE : m + log(s);
        else m_parts[part] = m, s_parts[part] = s;
    }
}

// One block a head: the chunks put together, each thread a column of y.
extern "C" __global__ void attention_one_query_merge(
    const REAL* m_parts,  // (B, H, C)
    const REAL* s_parts,  // (B, H, C)
    const REAL* o_parts,  // (B, H, C, Kv)
    REAL* y,              // (B, Tq, H, Kv)
    REAL* logsumexp,      // (B, H, Tq)
    i64 B, i64 Tq, i64 H, i64 Kv, i64 C) {
    i64 first = i64(blockIdx.x) * C;
    REAL m = -INFINITE, s = 0;
    for (i64 n = first; n < first + C; ++n) m = larger(m, m_parts[n]);
    for (i64 n = first; n < first + C; ++n) s += s_parts[n] * weight_of(m_parts[n], m);
    for (i64 c = threadIdx.x; c < Kv; c += blockDim.x) {
        REAL o = 0;
        for (i64 n = first; n < first + C; ++n) o += o_parts[n * Kv + c] * weight_of(m_parts[n], m);
        y[blockIdx.x * Kv + c] = s == 0 ? REAL(0) : o / s;
    }
    if (threadIdx.x == 0) logsumexp[blockIdx.x] = m == -INFINITE && s == 0 ? -INFINITE : m + log(s);
}
