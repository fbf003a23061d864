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
        return !mask || mask[j];
    }
};

struct Drop {
    REAL scale;
    u32 threshold;
    Key key;
    int any;
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
