// Attention: what its kernels take, which keys a query sees, where a head's rows lie, and dropout's factors.
#pragma once
#include "philox.h"

// An array (B, T, H, K) whose last axis is contiguous; an index of another axis is so many numbers from the next.
struct Strided {
    const REAL* first;  // (B, T, H, K) strided
    i64 by_b, by_t, by_h;
};

// Dropout of the weights: those whose random bits are below the threshold become 0, the others are multiplied by the factor.
struct Dropout {
    REAL factor;
    u32 threshold;
    int drops;  // 0: no dropout
    KeyArguments key;
};

// What every kernel takes.
struct Attention {
    Strided query;       // (B, Tq, H, K)
    Strided key;         // (B, Tk, G, K)
    Strided value;       // (B, Tk, G, Kv)
    const u8* key_mask;  // (B, Tk) or null
    i64 B, Tq, Tk, H, G, K, Kv;
    i64 band;  // 0: no band
    int causal;
    REAL scale;
    REAL softcap;  // 0: none
    Dropout dropout;
};

// What the kernels of backward take.
struct AttentionBackward {
    Attention forward;
    const REAL* dy;         // (B, Tq, H, Kv)
    const REAL* logsumexp;  // (B, H, Tq)
    const REAL* D;          // (B, H, Tq)
};

// The rows of one head.
struct Rows {
    const REAL* first;
    i64 step;
    __device__ const REAL* operator[](i64 t) const { return first + t * step; }
};

// Which keys a query sees.
struct See {
    i64 Tq, Tk, band;
    int causal;
    const u8* mask;  // of the batch row, or null
    __device__ bool operator()(i64 i, i64 j) const {
        i64 last = i + Tk - Tq, distance = i > j ? i - j : j - i;
        if (causal && (j > last || (band && j <= last - band))) return false;
        if (!causal && band && distance >= band) return false;
        return shown(j);
    }
    // Whether the mask shows a key. What stands at the others may be NaN, and is not even multiplied by a weight of 0.
    __device__ bool shown(i64 j) const { return !mask || mask[j]; }

    // Of an i and a j that may lie behind the last ones.
    __device__ bool within(i64 i, i64 j) const { return i < Tq && j < Tk && (*this)(i, j); }
    // Whether each of these queries exists and sees each of these keys; it may say no where they do.
    __device__ bool all(i64 i, i64 queries, i64 j, i64 keys) const {
        return !mask && !band && i + queries <= Tq && j + keys <= Tk && (!causal || j + keys - 1 <= i + Tk - Tq);
    }
    // No query from i on sees a key before the first, none up to i one from the end on; and the other way round.
    __device__ i64 first_key(i64 i) const { return band ? max(i64(0), (causal ? i + Tk - Tq : i) - band + 1) : 0; }
    __device__ i64 end_of_keys(i64 i) const {
        return causal ? max(i64(0), min(Tk, i + Tk - Tq + 1)) : band ? min(Tk, i + band) : Tk;
    }
    __device__ i64 first_query(i64 j) const { return causal ? max(i64(0), j - (Tk - Tq)) : band ? max(i64(0), j - band + 1) : 0; }
    __device__ i64 end_of_queries(i64 j) const { return band ? max(i64(0), min(Tq, (causal ? j - (Tk - Tq) : j) + band)) : Tq; }
};

// Dropout's factor of a weight, by its place in (B, H, Tq, Tk).
struct Drop {
    REAL factor;
    u32 threshold;
    Key key;
    int drops;
    // The four random words of a block: those of weights 4 block to 4 block + 3.
    __device__ Words words(u32 block) const { return key.words(block); }
    __device__ REAL operator()(i64 weight) const {
        if (!drops) return 1;
        return key.bits(weight) >= threshold ? factor : REAL(0);
    }
};

// A score from the product of a query and a key, and its derivative by scale times that product.
struct Score {
    REAL scale, softcap;
    __device__ REAL operator()(REAL dot) const {
        REAL s = scale * dot;
        return softcap > 0 ? softcap * tanh(s / softcap) : s;
    }
    __device__ REAL slope(REAL S) const { return softcap > 0 ? 1 - (S / softcap) * (S / softcap) : REAL(1); }
};

// One head of queries of one row of the batch, its place among those of all rows, and the keys and values that it reads.
struct Head {
    i64 b, h, number;
    Rows q, k, v;
    See see;
    Drop drop;
    Score score;
};

// Heads of queries that read one head of keys and values.
__device__ inline i64 share_of(const Attention& args) { return args.H / args.G; }

__device__ inline Rows rows_of(const Strided& x, i64 b, i64 h) { return {x.first + b * x.by_b + h * x.by_h, x.by_t}; }

__device__ inline Head head_of(const Attention& args, i64 number) {
    i64 b = number / args.H, h = number % args.H;
    See see = {args.Tq, args.Tk, args.band, args.causal, args.key_mask ? args.key_mask + b * args.Tk : nullptr};
    Drop drop = {args.dropout.factor, args.dropout.threshold, key_of(args.dropout.key), args.dropout.drops};
    i64 g = h / share_of(args);
    Score score = {args.scale, args.softcap};
    return {b, h, number, rows_of(args.query, b, h), rows_of(args.key, b, g), rows_of(args.value, b, g), see, drop, score};
}

// The rows of dy of a head.
__device__ inline Rows rows_of_dy(const AttentionBackward& args, i64 b, i64 h) {
    i64 H = args.forward.H, Kv = args.forward.Kv;
    return {args.dy + (b * args.forward.Tq * H + h) * Kv, H * Kv};
}

__device__ inline REAL dot(const REAL* a, const REAL* b, i64 K) {
    REAL sum = 0;
    for (i64 k = 0; k < K; ++k) sum += a[k] * b[k];
    return sum;
}

// exp(S - m), where m of a row that sees nothing is -inf
__device__ inline REAL weight_of(REAL S, REAL m) { return S == -INFINITE ? REAL(0) : exp(S - (m == -INFINITE ? REAL(0) : m)); }
