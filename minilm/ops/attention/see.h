// Attention: which keys a query sees, where a head's rows lie, and dropout's factors.
#pragma once

// Head h of batch row b of an array (B, T, H, K) whose last axis is contiguous; strides in numbers.
struct Rows {
    const REAL* first;
    i64 step;
    __device__ const REAL* operator[](i64 t) const { return first + t * step; }
};

__device__ inline Rows rows_of(const REAL* x, i64 b, i64 h, i64 by_b, i64 by_t, i64 by_h) { return {x + b * by_b + h * by_h, by_t}; }

// band is 0 where there is none
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
    // Whether each of these queries is there and sees each of these keys; where it says no, they may all the same.
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

struct Drop {
    REAL scale;
    u32 threshold;
    Key key;
    int any;
    // The four random words of a block: those of weights 4 block to 4 block + 3.
    __device__ Words words(u32 block) const { return key.words(block); }
    __device__ REAL operator()(i64 weight) const {
        if (!any) return 1;
        return key.bits(weight) >= threshold ? scale : REAL(0);
    }
};

__device__ inline REAL dot(const REAL* a, const REAL* b, i64 K) {
    REAL sum = 0;
    for (i64 k = 0; k < K; ++k) sum += a[k] * b[k];
    return sum;
}

// exp(S - m), where m of a row that sees nothing is -inf
__device__ inline REAL weight_of(REAL S, REAL m) { return S == -INFINITE ? REAL(0) : exp(S - (m == -INFINITE ? REAL(0) : m)); }
