// Attention without the matrix of weights: what backward needs of it comes from logsumexp, a number a query.
//
// version 1   A warp a query, or in backward a query or a key, a lane for each of 32 keys. Every warp reads all keys from memory.
//             Runs for heads that are too wide for a block's shared memory.
// version 2   Tiles of TQ queries and TK keys in shared memory (FlashAttention): what is read is used by TQ queries, or TK keys. The
//             gradient by the keys is summed by the block that has the keys, that by the queries by the block that has the queries,
//             so nothing is added atomically and the bits repeat. The default for float32 and float64.
// version 3   tensor.cu: the same on tensor cores, for operands in tf32 and bf16. The default where a run allows these.
// one query   one_query.cu: the step of generation, where a tile would be empty but for one row.
#include "minilm_cuda.h"
#include "online.h"
#include "see.h"

// --- version 1 ------------------------------------------------------------------------------------------------------

extern "C" __global__ void attention_forward_1(
    Attention args,
    REAL* y,            // (B, Tq, H, Kv)
    REAL* logsumexp) {  // (B, H, Tq)
    i64 Tq = args.Tq, Tk = args.Tk, H = args.H, K = args.K, Kv = args.Kv;
    i64 i = i64(blockIdx.x) * (blockDim.x / 32) + warp();
    if (i >= Tq) return;
    auto [b, h, head, q, k, v, see, drop, score] = head_of(args, blockIdx.y);
    Online o = {-INFINITE, 0};
    for (i64 j = lane(); j < Tk; j += 32)
        if (see(i, j)) o = with(o, score(dot(q[i], k[j], K)));
    for (int bits = 16; bits > 0; bits /= 2) {
        Online other = {__shfl_xor_sync(WHOLE_WARP, o.m, bits), __shfl_xor_sync(WHOLE_WARP, o.s, bits)};
        o = merged(o, other);
    }
    if (o.m == INFINITE) o.s = o.m - o.m;
    REAL* out = y + ((b * Tq + i) * H + h) * Kv;
    for (i64 c0 = 0; c0 < Kv; c0 += 32) {  // 32 columns of y at a time, a lane each
        i64 c = c0 + lane();
        REAL sum = 0;
        for (i64 j0 = 0; j0 < Tk; j0 += 32) {
            i64 j = j0 + lane();
            REAL p = 0;
            if (j < Tk && see(i, j)) p = weight_of(score(dot(q[i], k[j], K)), o.m) * drop((head * Tq + i) * Tk + j);
            for (int u = 0; u < 32; ++u) {
                REAL p_u = __shfl_sync(WHOLE_WARP, p, u);
                if (c < Kv && j0 + u < Tk && see.shown(j0 + u)) sum += p_u * v[j0 + u][c];
            }
        }
        if (c < Kv) out[c] = o.s == 0 ? REAL(0) : sum / o.s;
    }
    if (lane() == 0) logsumexp[head * Tq + i] = o.m == -INFINITE && o.s == 0 ? -INFINITE : o.m + log(o.s);
}

// D[i] = sum over c of dy[i, c] y[i, c]; one warp a row of y, and rows in the order of logsumexp
extern "C" __global__ void attention_rows_of_D(
    const REAL* dy,  // (B, Tq, H, Kv)
    const REAL* y,   // (B, Tq, H, Kv)
    REAL* D,         // (B, H, Tq)
    i64 B, i64 Tq, i64 H, i64 Kv) {
    i64 n = i64(blockIdx.x) * (blockDim.x / 32) + warp();
    if (n >= B * H * Tq) return;
    i64 i = n % Tq, h = n / Tq % H, b = n / Tq / H, at = ((b * Tq + i) * H + h) * Kv;
    REAL sum = 0;
    for (i64 c = lane(); c < Kv; c += 32) sum += dy[at + c] * y[at + c];
    sum = warp_sum(sum);
    if (lane() == 0) D[n] = sum;
}

extern "C" __global__ void attention_dquery_1(
    AttentionBackward args,
    REAL* dquery) {  // (B, Tq, H, K)
    const Attention& forward = args.forward;
    i64 Tq = forward.Tq, Tk = forward.Tk, H = forward.H, K = forward.K, Kv = forward.Kv;
    i64 i = i64(blockIdx.x) * (blockDim.x / 32) + warp();
    if (i >= Tq) return;
    auto [b, h, head, q, k, v, see, drop, score] = head_of(forward, blockIdx.y);
    Rows g = rows_of_dy(args, b, h);
    const REAL *m = args.logsumexp + head * Tq, *D_h = args.D + head * Tq;
    for (i64 c0 = 0; c0 < K; c0 += 32) {  // 32 columns at a time, a lane each
        i64 c = c0 + lane();
        REAL sum = 0;
        for (i64 j0 = 0; j0 < Tk; j0 += 32) {
            i64 j = j0 + lane();
            REAL dS = 0;
            if (j < Tk && see(i, j)) {
                REAL S = score(dot(q[i], k[j], K)), P = weight_of(S, m[i]);
                dS = score.scale * P * (drop((head * Tq + i) * Tk + j) * dot(g[i], v[j], Kv) - D_h[i]) * score.slope(S);
            }
            for (int u = 0; u < 32; ++u) {
                REAL dS_u = __shfl_sync(WHOLE_WARP, dS, u);
                if (c < K && j0 + u < Tk && see.shown(j0 + u)) sum += dS_u * k[j0 + u][c];
            }
        }
        if (c < K) dquery[((b * Tq + i) * H + h) * K + c] = sum;
    }
}

extern "C" __global__ void attention_dkey_dvalue_1(
    AttentionBackward args,
    REAL* dkey,      // (B, Tk, G, K)
    REAL* dvalue) {  // (B, Tk, G, Kv)
    const Attention& forward = args.forward;
    i64 Tq = forward.Tq, Tk = forward.Tk, G = forward.G, K = forward.K, Kv = forward.Kv, share = share_of(forward);
    i64 j = i64(blockIdx.x) * (blockDim.x / 32) + warp();
    if (j >= Tk) return;
    i64 to = (blockIdx.y / G * Tk + j) * G + blockIdx.y % G;  // number of the row of dkey and dvalue
    for (i64 c0 = 0; c0 < max(K, Kv); c0 += 32) {
        i64 c = c0 + lane();
        REAL sum_k = 0, sum_v = 0;
        for (i64 n = 0; n < share; ++n) {  // the heads of queries that read the key
            auto [b, h, head, q, k, v, see, drop, score] = head_of(forward, blockIdx.y * share + n);
            Rows g = rows_of_dy(args, b, h);
            const REAL *m = args.logsumexp + head * Tq, *D_h = args.D + head * Tq;
            for (i64 i0 = 0; i0 < Tq; i0 += 32) {
                i64 i = i0 + lane();
                REAL Pk = 0, dS = 0;
                if (i < Tq && see(i, j)) {
                    REAL S = score(dot(q[i], k[j], K)), P = weight_of(S, m[i]), factor = drop((head * Tq + i) * Tk + j);
                    Pk = P * factor;
                    dS = score.scale * P * (factor * dot(g[i], v[j], Kv) - D_h[i]) * score.slope(S);
                }
                for (int u = 0; u < 32; ++u) {
                    REAL Pk_u = __shfl_sync(WHOLE_WARP, Pk, u), dS_u = __shfl_sync(WHOLE_WARP, dS, u);
                    if (i0 + u >= Tq) continue;
                    if (c < K) sum_k += dS_u * q[i0 + u][c];
                    if (c < Kv) sum_v += Pk_u * g[i0 + u][c];
                }
            }
        }
        if (c < K) dkey[to * K + c] = sum_k;
        if (c < Kv) dvalue[to * Kv + c] = sum_v;
    }
}

// --- version 2 ------------------------------------------------------------------------------------------------------

// `count` rows of a head from number `first` on, of K numbers each, to shared memory; rows beyond `rows`, and those that a mask hides,
// become 0
__device__ inline void load_tile(REAL* tile, Rows x, i64 first, i64 rows, int count, i64 K, const u8* mask = nullptr) {
    for (i64 n = threadIdx.x; n < count * K; n += blockDim.x) {
        i64 row = first + n / K;
        tile[n] = row < rows && (!mask || mask[row]) ? x[row][n % K] : REAL(0);
    }
}

extern "C" __global__ void attention_forward_2(
    Attention args,
    REAL* y,            // (B, Tq, H, Kv)
    REAL* logsumexp) {  // (B, H, Tq)
    i64 Tq = args.Tq, Tk = args.Tk, H = args.H, K = args.K, Kv = args.Kv;
    DYN_SHARED(REAL, shared);
    REAL* q_tile = shared;           // (TQ, K)
    REAL* k_tile = q_tile + TQ * K;  // (TK, K)
    REAL* v_tile = k_tile + TK * K;  // (TK, Kv)
    REAL* S = v_tile + TK * Kv;      // (TQ, TK) scores, then weights but for the row's sum
    REAL* out = S + TQ * TK;         // (TQ, Kv)
    REAL* m = out + TQ * Kv;         // (TQ) the largest score so far
    REAL* l = m + TQ;                // (TQ) the sum of exp(S - m) so far
    REAL* rescale = l + TQ;             // (TQ) exp(m before - m)
    auto [b, h, head, q, k, v, see, drop, score] = head_of(args, blockIdx.y);
    i64 i0 = i64(blockIdx.x) * TQ;
    load_tile(q_tile, q, i0, Tq, TQ, K);
    for (i64 n = threadIdx.x; n < TQ * Kv; n += blockDim.x) out[n] = 0;
    if (threadIdx.x < TQ) m[threadIdx.x] = -INFINITE, l[threadIdx.x] = 0;
    __syncthreads();  // m and l are written, for a tile of queries that sees no key
    i64 keys = args.causal ? max(i64(0), min(Tk, i0 + TQ + Tk - Tq)) : Tk;  // no query of the tile sees those behind
    for (i64 j0 = 0; j0 < keys; j0 += TK) {
        load_tile(k_tile, k, j0, Tk, TK, K, see.mask);
        load_tile(v_tile, v, j0, Tk, TK, Kv, see.mask);
        __syncthreads();  // the tiles are written
        for (int n = threadIdx.x; n < TQ * TK; n += blockDim.x) {
            i64 i = i0 + n / TK, j = j0 + n % TK;
            bool seen = i < Tq && j < Tk && see(i, j);
            S[n] = seen ? score(dot(q_tile + n / TK * K, k_tile + n % TK * K, K)) : -INFINITE;
        }
        // No barrier: a tile has as many keys as a warp lanes, so each thread now reads the scores that it has written.
        for (int r = warp(); r < TQ; r += blockDim.x / 32) {  // a warp a query, a lane a key
            REAL s = S[r * TK + lane()], before = m[r], now = larger(before, warp_max(s));
            REAL p = weight_of(s, now), factor = before == -INFINITE ? REAL(1) : exp(before - now), sum = warp_sum(p);
            i64 weight = (head * Tq + i0 + r) * Tk + j0 + lane();
            S[r * TK + lane()] = p * drop(weight);
            if (lane() == 0) m[r] = now, l[r] = l[r] * factor + sum, rescale[r] = factor;
        }
        __syncthreads();  // S has the weights
        for (i64 n = threadIdx.x; n < TQ * Kv; n += blockDim.x) {
            i64 r = n / Kv, c = n % Kv;
            REAL sum = out[n] * rescale[r];
            for (int j = 0; j < TK; ++j) sum += S[r * TK + j] * v_tile[j * Kv + c];
            out[n] = sum;
        }
        __syncthreads();  // the tiles and S have been read
    }
    for (i64 n = threadIdx.x; n < TQ * Kv; n += blockDim.x) {
        i64 r = n / Kv, c = n % Kv;
        if (i0 + r < Tq) y[((b * Tq + i0 + r) * H + h) * Kv + c] = l[r] == 0 ? REAL(0) : out[n] / l[r];
    }
    if (threadIdx.x < TQ && i0 + threadIdx.x < Tq) {
        int r = threadIdx.x;
        logsumexp[head * Tq + i0 + r] = l[r] == 0 && m[r] == -INFINITE ? -INFINITE : m[r] + log(l[r]);
    }
}

// P and dS of a tile, from the tiles of query, key, value and dy; Pk is P times dropout's factor
__device__ inline void backward_tile(const REAL* q_tile, const REAL* k_tile, const REAL* v_tile, const REAL* g_tile, const REAL* m,
                                     const REAL* D_h, See see, Drop drop, Score score, i64 head, i64 i0, i64 j0, i64 K, i64 Kv,
                                     REAL* Pk, REAL* dS) {
    for (int n = threadIdx.x; n < TQ * TK; n += blockDim.x) {
        int r = n / TK, u = n % TK;
        i64 i = i0 + r, j = j0 + u;
        REAL S = 0, P = 0, factor = 0, dP = 0, D_i = 0;
        if (i < see.Tq && j < see.Tk && see(i, j)) {
            S = score(dot(q_tile + r * K, k_tile + u * K, K));
            P = weight_of(S, m[i]);
            factor = drop((head * see.Tq + i) * see.Tk + j);
            dP = factor * dot(g_tile + r * Kv, v_tile + u * Kv, Kv);
            D_i = D_h[i];
        }
        Pk[n] = P * factor;
        dS[n] = score.scale * P * (dP - D_i) * score.slope(S);
    }
}

extern "C" __global__ void attention_dquery_2(
    AttentionBackward args,
    REAL* dquery) {  // (B, Tq, H, K)
    const Attention& forward = args.forward;
    i64 Tq = forward.Tq, Tk = forward.Tk, H = forward.H, K = forward.K, Kv = forward.Kv;
    DYN_SHARED(REAL, shared);
    REAL* q_tile = shared;            // (TQ, K)
    REAL* g_tile = q_tile + TQ * K;   // (TQ, Kv)
    REAL* k_tile = g_tile + TQ * Kv;  // (TK, K)
    REAL* v_tile = k_tile + TK * K;   // (TK, Kv)
    REAL* Pk = v_tile + TK * Kv;      // (TQ, TK)
    REAL* dS = Pk + TQ * TK;          // (TQ, TK)
    REAL* sums = dS + TQ * TK;        // (TQ, K)
    auto [b, h, head, q, k, v, see, drop, score] = head_of(forward, blockIdx.y);
    Rows g = rows_of_dy(args, b, h);
    const REAL *m = args.logsumexp + head * Tq, *D_h = args.D + head * Tq;
    i64 i0 = i64(blockIdx.x) * TQ;
    load_tile(q_tile, q, i0, Tq, TQ, K);
    load_tile(g_tile, g, i0, Tq, TQ, Kv);
    for (i64 n = threadIdx.x; n < TQ * K; n += blockDim.x) sums[n] = 0;
    i64 keys = forward.causal ? max(i64(0), min(Tk, i0 + TQ + Tk - Tq)) : Tk;
    for (i64 j0 = 0; j0 < keys; j0 += TK) {
        load_tile(k_tile, k, j0, Tk, TK, K, see.mask);
        load_tile(v_tile, v, j0, Tk, TK, Kv, see.mask);
        __syncthreads();  // the tiles are written
        backward_tile(q_tile, k_tile, v_tile, g_tile, m, D_h, see, drop, score, head, i0, j0, K, Kv, Pk, dS);
        __syncthreads();  // dS is written
        for (i64 n = threadIdx.x; n < TQ * K; n += blockDim.x) {
            REAL sum = sums[n];
            for (int u = 0; u < TK; ++u) sum += dS[n / K * TK + u] * k_tile[u * K + n % K];
            sums[n] = sum;
        }
        __syncthreads();  // the tiles and dS have been read
    }
    for (i64 n = threadIdx.x; n < TQ * K; n += blockDim.x)
        if (i0 + n / K < Tq) dquery[((b * Tq + i0 + n / K) * H + h) * K + n % K] = sums[n];
}

extern "C" __global__ void attention_dkey_dvalue_2(
    AttentionBackward args,
    REAL* dkey,      // (B, Tk, G, K)
    REAL* dvalue) {  // (B, Tk, G, Kv)
    const Attention& forward = args.forward;
    i64 Tq = forward.Tq, Tk = forward.Tk, G = forward.G, K = forward.K, Kv = forward.Kv, share = share_of(forward);
    DYN_SHARED(REAL, shared);
    REAL* k_tile = shared;            // (TK, K)
    REAL* v_tile = k_tile + TK * K;   // (TK, Kv)
    REAL* q_tile = v_tile + TK * Kv;  // (TQ, K)
    REAL* g_tile = q_tile + TQ * K;   // (TQ, Kv)
    REAL* Pk = g_tile + TQ * Kv;      // (TQ, TK)
    REAL* dS = Pk + TQ * TK;          // (TQ, TK)
    REAL* sums_k = dS + TQ * TK;      // (TK, K)
    REAL* sums_v = sums_k + TK * K;   // (TK, Kv)
    i64 j0 = i64(blockIdx.x) * TK;
    Head first = head_of(forward, blockIdx.y * share);  // of queries that read the tile's keys
    load_tile(k_tile, first.k, j0, Tk, TK, K, first.see.mask);
    load_tile(v_tile, first.v, j0, Tk, TK, Kv, first.see.mask);
    for (i64 n = threadIdx.x; n < TK * K; n += blockDim.x) sums_k[n] = 0;
    for (i64 n = threadIdx.x; n < TK * Kv; n += blockDim.x) sums_v[n] = 0;
    i64 before = forward.causal ? max(i64(0), j0 - (Tk - Tq)) / TQ * TQ : 0;  // queries before that see no key of the tile
    for (i64 number = first.number; number < first.number + share; ++number) {
        auto [b, h, head, q, k, v, see, drop, score] = head_of(forward, number);
        Rows g = rows_of_dy(args, b, h);
        const REAL *m = args.logsumexp + head * Tq, *D_h = args.D + head * Tq;
        for (i64 i0 = before; i0 < Tq; i0 += TQ) {
            load_tile(q_tile, q, i0, Tq, TQ, K);
            load_tile(g_tile, g, i0, Tq, TQ, Kv);
            __syncthreads();  // the tiles are written
            backward_tile(q_tile, k_tile, v_tile, g_tile, m, D_h, see, drop, score, head, i0, j0, K, Kv, Pk, dS);
            __syncthreads();  // Pk and dS are written
            for (i64 n = threadIdx.x; n < TK * K; n += blockDim.x) {
                REAL sum = sums_k[n];
                for (int r = 0; r < TQ; ++r) sum += dS[r * TK + n / K] * q_tile[r * K + n % K];
                sums_k[n] = sum;
            }
            for (i64 n = threadIdx.x; n < TK * Kv; n += blockDim.x) {
                REAL sum = sums_v[n];
                for (int r = 0; r < TQ; ++r) sum += Pk[r * TK + n / Kv] * g_tile[r * Kv + n % Kv];
                sums_v[n] = sum;
            }
            __syncthreads();  // the tiles, Pk and dS have been read
        }
    }
    i64 to = (first.b * Tk + j0) * G + first.h / share;  // number of the tile's first row in dkey and dvalue, whose rows are G apart
    for (i64 n = threadIdx.x; n < TK * K; n += blockDim.x)
        if (j0 + n / K < Tk) dkey[(to + n / K * G) * K + n % K] = sums_k[n];
    for (i64 n = threadIdx.x; n < TK * Kv; n += blockDim.x)
        if (j0 + n / Kv < Tk) dvalue[(to + n / Kv * G) * Kv + n % Kv] = sums_v[n];
}

// The weights before dropout, for study, from logsumexp.
extern "C" __global__ void attention_weights(
    Attention args,
    const REAL* logsumexp,  // (B, H, Tq)
    REAL* weights) {        // (B, H, Tq, Tk)
    i64 Tq = args.Tq, Tk = args.Tk;
    for (i64 n = thread_of_grid(); n < args.B * args.H * Tq * Tk; n += threads_of_grid()) {
        i64 j = n % Tk, i = n / Tk % Tq;
        Head head = head_of(args, n / Tk / Tq);
        bool seen = head.see(i, j);
        weights[n] = seen ? weight_of(head.score(dot(head.q[i], head.k[j], args.K)), logsumexp[n / Tk]) : REAL(0);
    }
}
