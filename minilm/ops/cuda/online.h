// The largest number m of a row and the sum s of exp(x - m), in one pass: M. Milakov, N. Gimelshein, arXiv:1805.02867.
#pragma once

// sum of exp(x - m) by one thread, in parts of 256 terms: one sum of all would lose the digits of the later ones
__device__ inline REAL sum_of_exp(const REAL* x, REAL m, i64 V) {
    REAL sum = 0;
    for (i64 first = 0; first < V; first += 256) {
        REAL part = 0;
        for (i64 v = first; v < min(first + 256, V); ++v) part += exp(x[v] - m);
        sum += part;
    }
    return sum;
}

struct Online {
    REAL m, s;
};

__device__ inline Online with(Online o, REAL x) {
    if (x > o.m) return {x, o.s * exp(o.m - x) + 1};
    if (x != -INFINITE) o.s += exp(x - o.m);  // a NaN makes the sum one
    return o;
}

// Of two parts of a row; a part without numbers has m = -inf and s = 0.
__device__ inline Online merged(Online a, Online b) {
    REAL m = larger(a.m, b.m);
    REAL s = (a.m == -INFINITE ? a.s : a.s * exp(a.m - m)) + (b.m == -INFINITE ? b.s : b.s * exp(b.m - m));
    return {m, s};
}

// Over the threads of a block; the first to use `scratch`, which has room for 64 numbers of shared memory. A row with +inf gives a NaN,
// as x - m does.
__device__ inline Online block_merge(Online o, REAL* scratch) {
    for (int bits = 16; bits > 0; bits /= 2) {
        Online other = {__shfl_xor_sync(WHOLE_WARP, o.m, bits), __shfl_xor_sync(WHOLE_WARP, o.s, bits)};
        o = merged(o, other);
    }
    if (lane() == 0) scratch[warp()] = o.m, scratch[32 + warp()] = o.s;
    __syncthreads();
    o = {-INFINITE, 0};
    if (lane() < blockDim.x / 32) o = {scratch[lane()], scratch[32 + lane()]};
    for (int bits = 16; bits > 0; bits /= 2) {
        Online other = {__shfl_xor_sync(WHOLE_WARP, o.m, bits), __shfl_xor_sync(WHOLE_WARP, o.s, bits)};
        o = merged(o, other);
    }
    if (o.m == INFINITE) o.s = o.m - o.m;
    return o;
}
