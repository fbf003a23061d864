// Attention, version 3: its products on tensor cores, operands in bf16 (-DBF16=1) or tf32 (-DBF16=0), sums and softmax in float32. Versions
// 1 and 2 are in gpu.cu.
//
// The structure of FlashAttention-2 (T. Dao, arXiv:2307.08691). A block of four warps has 64 rows, queries in forward and dquery, keys in
// dkey_dvalue, and walks over tiles of the others in shared memory; each warp owns 16 of the rows. A score tile, 16 rows by 8
// columns a product, never leaves the registers of its warp: weights are made of it there, and the registers that held a product's
// result hold an operand of the next one (`add_product`). Tiles are rounded as they are loaded; their rows lie PITCH words apart,
// an odd multiple of 4, so that 8 rows of 4 words lie in 32 different banks. -DWIDTH=... is the head's width, K or Kv whichever is
// larger, rounded up; columns behind are zeros. Needs an sm_80: see mma.h.
#include "minilm_cuda.h"
#include "see.h"
#include "tensor.h"

extern "C" __global__ void attention_forward_3(
    Attention args,
    REAL* y,            // (B, Tq, H, Kv)
    REAL* logsumexp) {  // (B, H, Tq)
    i64 Tq = args.Tq, Tk = args.Tk, H = args.H, K = args.K, Kv = args.Kv;
    DYN_SHARED(u32, shared);
    u32* q_tile = shared;                    // (ROWS, PITCH)
    u32* k_tile = q_tile + ROWS * PITCH;     // (COLUMNS, PITCH)
    u32* v_tile = k_tile + COLUMNS * PITCH;  // (COLUMNS, PITCH)
    auto [b, h, head, q, k, v, see, drop, score] = head_of(args, blockIdx.y);
    // those who see most keys begin first, or the device would wait for them at the end
    i64 first = i64(args.causal ? gridDim.x - 1 - blockIdx.x : blockIdx.x) * ROWS, i0 = first + 16 * warp();
    int g = lane() / 4, t = lane() % 4;
    load_rows<ROWS>(q_tile, q, first, Tq, K);
    float out[OUT][4] = {}, m[2] = {-INFINITE, -INFINITE}, l[2] = {0, 0};  // of rows i0 + g and i0 + g + 8; l of this lane's columns
    i64 end = see.end_of_keys(first + ROWS - 1);
    for (i64 j0 = see.first_key(first) / COLUMNS * COLUMNS; j0 < end; j0 += COLUMNS) {
        load_rows<COLUMNS>(k_tile, k, j0, Tk, K, see.mask);
        load_rows<COLUMNS>(v_tile, v, j0, Tk, Kv, see.mask);
        __syncthreads();  // the tiles are written
        if (i0 < Tq && j0 < see.end_of_keys(i0 + 15)) {
            float S[COLUMNS / 8][4];
            scores(S, q_tile + 16 * warp() * PITCH, k_tile);
            bool all = see.all(i0, 16, j0, COLUMNS);
#pragma unroll
            for (int n = 0; n < COLUMNS / 8; ++n)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    bool seen = all || see.within(i0 + g + e / 2 * 8, j0 + 8 * n + 2 * t + e % 2);
                    S[n][e] = seen ? in_twos(score, S[n][e]) : -INFINITE;
                }
#pragma unroll
            for (int u = 0; u < 2; ++u) {
                float top = m[u];
#pragma unroll
                for (int n = 0; n < COLUMNS / 8; ++n) top = larger(larger(top, S[n][2 * u]), S[n][2 * u + 1]);
                top = quad_max(top);
                float less = top == -INFINITE ? 0 : top, rescale = exp2f(m[u] - less);
                m[u] = top;
                l[u] *= rescale;
#pragma unroll
                for (int n = 0; n < COLUMNS / 8; ++n)
#pragma unroll
                    for (int e = 2 * u; e < 2 * u + 2; ++e) l[u] += S[n][e] = exp2f(S[n][e] - less);
#pragma unroll
                for (int n = 0; n < OUT; ++n) out[n][2 * u] *= rescale, out[n][2 * u + 1] *= rescale;
            }
            if (drop.drops) {
#pragma unroll
                for (int n = 0; n < COLUMNS / 8; ++n) {
                    float f[4];
                    factors<false>(f, drop, head, Tq, Tk, i0 + g, j0 + 8 * n + 2 * t);
#pragma unroll
                    for (int e = 0; e < 4; ++e) S[n][e] *= f[e];
                }
            }
            add_product(out, S, v_tile);
        }
        __syncthreads();  // the tiles have been read
    }
    float part[2];
#pragma unroll
    for (int u = 0; u < 2; ++u) {
        float sum = quad_sum(l[u]);
        i64 i = i0 + g + 8 * u;
        part[u] = sum == 0 ? 0 : 1 / sum;
        if (t == 0 && i < Tq) logsumexp[head * Tq + i] = sum == 0 ? -INFINITE : m[u] * LN_2 + log(sum);
    }
    store(y, out, part[0], part[1], b, h, i0, Tq, H, Kv);
}

extern "C" __global__ void attention_dquery_3(
    AttentionBackward args,
    REAL* dquery) {  // (B, Tq, H, K)
    const Attention& forward = args.forward;
    i64 Tq = forward.Tq, Tk = forward.Tk, H = forward.H, K = forward.K, Kv = forward.Kv;
    DYN_SHARED(u32, shared);
    u32* q_tile = shared;                    // (ROWS, PITCH)
    u32* g_tile = q_tile + ROWS * PITCH;     // (ROWS, PITCH)
    u32* k_tile = g_tile + ROWS * PITCH;     // (KEYS, PITCH)
    u32* v_tile = k_tile + KEYS * PITCH;  // (KEYS, PITCH)
    auto [b, h, head, q, k, v, see, drop, score] = head_of(forward, blockIdx.y);
    i64 first = i64(forward.causal ? gridDim.x - 1 - blockIdx.x : blockIdx.x) * ROWS, i0 = first + 16 * warp();
    int g = lane() / 4, t = lane() % 4;
    load_rows<ROWS>(q_tile, q, first, Tq, K);
    load_rows<ROWS>(g_tile, rows_of_dy(args, b, h), first, Tq, Kv);
    float out[OUT][4] = {}, m[4], D_[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
        i64 i = min(i0 + g + e / 2 * 8, Tq - 1);
        m[e] = less_of(args.logsumexp[head * Tq + i]), D_[e] = args.D[head * Tq + i];
    }
    i64 end = see.end_of_keys(first + ROWS - 1);
    for (i64 j0 = see.first_key(first) / KEYS * KEYS; j0 < end; j0 += KEYS) {
        load_rows<KEYS>(k_tile, k, j0, Tk, K, see.mask);
        load_rows<KEYS>(v_tile, v, j0, Tk, Kv, see.mask);
        __syncthreads();  // the tiles are written
        if (i0 < Tq && j0 < see.end_of_keys(i0 + 15)) {
            float S[KEYS / 8][4], dP[KEYS / 8][4];
            scores(S, q_tile + 16 * warp() * PITCH, k_tile);
            scores(dP, g_tile + 16 * warp() * PITCH, v_tile);
            bool all = see.all(i0, 16, j0, KEYS);
#pragma unroll
            for (int n = 0; n < KEYS / 8; ++n)
                weights_and_gradients<false>(S[n], dP[n], m, D_, see, drop, score, all, head, i0 + g, j0 + 8 * n + 2 * t);
            add_product(out, dP, k_tile);
        }
        __syncthreads();  // the tiles have been read
    }
    store(dquery, out, score.scale, score.scale, b, h, i0, Tq, H, K);
}

// Rows are keys here: the transposes of S and dP are what a warp computes, so that again they are operands as they lie in registers.
extern "C" __global__ void attention_dkey_dvalue_3(
    AttentionBackward args,
    REAL* dkey,      // (B, Tk, G, K)
    REAL* dvalue) {  // (B, Tk, G, Kv)
    const Attention& forward = args.forward;
    i64 Tq = forward.Tq, Tk = forward.Tk, G = forward.G, K = forward.K, Kv = forward.Kv, share = share_of(forward);
    DYN_SHARED(u32, shared);
    u32* k_tile = shared;                    // (ROWS, PITCH)
    u32* v_tile = k_tile + ROWS * PITCH;     // (ROWS, PITCH)
    u32* q_tile = v_tile + ROWS * PITCH;     // (QUERIES, PITCH)
    u32* g_tile = q_tile + QUERIES * PITCH;  // (QUERIES, PITCH)
    i64 first = i64(blockIdx.x) * ROWS, j0 = first + 16 * warp(), number = blockIdx.y * share;
    int g = lane() / 4, t = lane() % 4;
    {
        Head reader = head_of(forward, number);  // the first of the heads of queries that read the keys
        load_rows<ROWS>(k_tile, reader.k, first, Tk, K, reader.see.mask);
        load_rows<ROWS>(v_tile, reader.v, first, Tk, Kv, reader.see.mask);
    }
    float dk[OUT][4] = {}, dv[OUT][4] = {};
    for (i64 u = 0; u < share; ++u) {
        auto [b, h, head, q, k, v, see, drop, score] = head_of(forward, number + u);
        Rows dy_h = rows_of_dy(args, b, h);
        i64 end = see.end_of_queries(first + ROWS - 1);
        for (i64 i0 = see.first_query(first) / QUERIES * QUERIES; i0 < end; i0 += QUERIES) {
            load_rows<QUERIES>(q_tile, q, i0, Tq, K);
            load_rows<QUERIES>(g_tile, dy_h, i0, Tq, Kv);
            __syncthreads();  // the tiles are written
            if (j0 < see.end_of_keys(i0 + QUERIES - 1)) {
                float S[QUERIES / 8][4], dP[QUERIES / 8][4];
                scores(S, k_tile + 16 * warp() * PITCH, q_tile);
                scores(dP, v_tile + 16 * warp() * PITCH, g_tile);
                bool all = see.all(i0, QUERIES, j0, 16);
#pragma unroll
                for (int n = 0; n < QUERIES / 8; ++n) {
                    float m[4], D_[4];
#pragma unroll
                    for (int e = 0; e < 4; ++e) {
                        i64 i = min(i0 + 8 * n + 2 * t + e % 2, Tq - 1);
                        m[e] = less_of(args.logsumexp[head * Tq + i]), D_[e] = args.D[head * Tq + i];
                    }
                    weights_and_gradients<true>(S[n], dP[n], m, D_, see, drop, score, all, head, j0 + g, i0 + 8 * n + 2 * t);
                }
                add_product(dv, S, g_tile);
                add_product(dk, dP, q_tile);
            }
            __syncthreads();  // the tiles have been read
        }
    }
    store(dkey, dk, forward.scale, forward.scale, blockIdx.y / G, blockIdx.y % G, j0, Tk, G, K);
    store(dvalue, dv, 1, 1, blockIdx.y / G, blockIdx.y % G, j0, Tk, G, Kv);
}
