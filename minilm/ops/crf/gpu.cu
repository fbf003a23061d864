// Conditional random field: a block for each row walks over its steps, a thread for each tag.
#include "minilm_cuda.h"

// log sum exp over i of before[i] + transitions[i, j]; what exp is relative to goes to m, the sum to s
__device__ inline void column(const REAL* before, const REAL* transitions, i64 j, i64 K, REAL& m, REAL& s) {
    m = before[0] + transitions[j], s = 0;
    for (i64 i = 1; i < K; ++i) m = larger(m, before[i] + transitions[i * K + j]);
    for (i64 i = 0; i < K; ++i) s += exp(before[i] + transitions[i * K + j] - m);
}

// The largest of a thread's own numbers, and the sum of their exponentials relative to it.
struct Own {
    REAL m = -INFINITE, s = 0;
    __device__ void take(REAL v) {
        if (!(v > m)) {
            s += v == -INFINITE ? REAL(0) : exp(v - m);
        } else {
            s = (m == -INFINITE ? REAL(0) : s * exp(m - v)) + 1;
            m = v;
        }
    }
};

// log sum exp over the block. Nobody may still be reading scratch from a call before.
__device__ inline REAL log_sum_exp(Own own, REAL* scratch) {
    REAL m = block_max(own.m, scratch);
    return m + log(block_sum(own.s == 0 ? REAL(0) : own.s * exp(own.m - m), scratch));
}

extern "C" __global__ void crf_forward(
    const REAL* emissions,    // (B, T, K)
    const i64* tags,          // (B, T)
    const REAL* transitions,  // (K, K)
    const REAL* start,        // (K)
    const REAL* end,          // (K)
    const i64* lengths,       // (B) or null
    REAL* alpha,              // (B, T, K)
    REAL* nll,                // (B)
    i64 B, i64 T, i64 K) {
    __shared__ REAL scratch[32];
    __shared__ double sums[32];
    i64 b = blockIdx.x, L = lengths ? lengths[b] : T;
    const i64* y = tags + b * T;
    double total = 0;  // -log of the probability of each tag given the one after it, as far as this thread has that one
    for (i64 t = 0; t < L; ++t) {
        const REAL* e = emissions + (b * T + t) * K;
        REAL *a = alpha + (b * T + t) * K, *before = a - K;
        Own own;
        for (i64 j = threadIdx.x; j < K; j += blockDim.x) {
            REAL m, s, u = start[j];
            if (t > 0) {
                column(before, transitions, j, K, m, s);
                u = m + log(s);
                if (j == y[t]) total += u - (before[y[t - 1]] + transitions[y[t - 1] * K + j]);
            }
            a[j] = u + e[j];
            own.take(a[j]);
        }
        REAL n = log_sum_exp(own, scratch);
        for (i64 j = threadIdx.x; j < K; j += blockDim.x) a[j] -= n;
        __syncthreads();  // this step's alpha is there, and scratch has been read
    }
    REAL* a = alpha + (b * T + L - 1) * K;
    Own own;
    for (i64 j = threadIdx.x; j < K; j += blockDim.x) own.take(a[j] + end[j]);
    REAL n = log_sum_exp(own, scratch);
    for (i64 j = threadIdx.x; j < K; j += blockDim.x)
        if (j == y[L - 1]) total += n - (a[j] + end[j]);
    total = block_sum(total, sums);
    if (threadIdx.x == 0) nll[b] = total;
    for (i64 k = L * K + threadIdx.x; k < T * K; k += blockDim.x) alpha[b * T * K + k] = 0;
}

extern "C" __global__ void crf_backward(
    const REAL* dnll,         // (B)
    const i64* tags,          // (B, T)
    const REAL* transitions,  // (K, K)
    const REAL* end,          // (K)
    const i64* lengths,       // (B) or null
    const REAL* alpha,        // (B, T, K)
    REAL* demissions,         // (B, T, K)
    REAL* parts,              // (B, K, K) what a row adds to dtransitions
    REAL* firsts,             // (B, K) and to dstart
    REAL* lasts,              // (B, K) and to dend
    REAL* columns,            // (B, 2, K) of a step: the largest of each column, and p over the column's sum
    i64 B, i64 T, i64 K) {
    __shared__ REAL scratch[32];
    i64 b = blockIdx.x, L = lengths ? lengths[b] : T;
    const i64* y = tags + b * T;
    REAL g = dnll[b], *into = parts + b * K * K, *most = columns + b * 2 * K, *share = most + K;
    REAL* p = firsts + b * K;  // until the first step, whose gradient it then is; each thread reads and writes its own tags alone
    const REAL* a = alpha + (b * T + L - 1) * K;
    Own own;
    for (i64 j = threadIdx.x; j < K; j += blockDim.x) own.take(a[j] + end[j]);
    REAL n = log_sum_exp(own, scratch);
    for (i64 i = threadIdx.x; i < K; i += blockDim.x) {
        p[i] = exp(a[i] + end[i] - n);
        for (i64 j = 0; j < K; ++j) into[i * K + j] = 0;
    }
    for (i64 t = L - 1; t > 0; --t) {
        const REAL* before = alpha + (b * T + t - 1) * K;
        for (i64 j = threadIdx.x; j < K; j += blockDim.x) {
            REAL m, s;
            column(before, transitions, j, K, m, s);
            most[j] = m, share[j] = p[j] / s;
            demissions[(b * T + t) * K + j] = g * (p[j] - (j == y[t]));
        }
        __syncthreads();  // the columns of this step are there
        for (i64 i = threadIdx.x; i < K; i += blockDim.x) {
            REAL sum = 0;
            for (i64 j = 0; j < K; ++j) {
                REAL q = exp(before[i] + transitions[i * K + j] - most[j]) * share[j];
                into[i * K + j] += g * q;
                sum += q;
            }
            p[i] = sum;
            if (i == y[t - 1]) into[i * K + y[t]] -= g;
        }
        __syncthreads();  // the columns have been read
    }
    for (i64 j = threadIdx.x; j < K; j += blockDim.x) {
        demissions[b * T * K + j] = firsts[b * K + j] = g * (p[j] - (j == y[0]));
        lasts[b * K + j] = demissions[(b * T + L - 1) * K + j];
    }
    for (i64 k = L * K + threadIdx.x; k < T * K; k += blockDim.x) demissions[b * T * K + k] = 0;
}

extern "C" __global__ void crf_decode(
    const REAL* emissions,    // (B, T, K)
    const REAL* transitions,  // (K, K)
    const REAL* start,        // (K)
    const REAL* end,          // (K)
    const i64* lengths,       // (B) or null
    REAL* best,               // (B, 2, K) of a step and of the one before
    i64* back,                // (B, T, K)
    i64* tags,                // (B, T)
    REAL* scores,             // (B)
    i64 B, i64 T, i64 K) {
    i64 b = blockIdx.x, L = lengths ? lengths[b] : T;
    REAL *v = best + b * 2 * K, *before = v + K;
    for (i64 t = 0; t < L; ++t) {
        const REAL* e = emissions + (b * T + t) * K;
        for (i64 j = threadIdx.x; j < K; j += blockDim.x) {
            REAL most = start[j];
            if (t > 0) {
                i64 from = 0;
                most = before[0] + transitions[j];
                for (i64 i = 1; i < K; ++i) {
                    REAL way = before[i] + transitions[i * K + j];
                    if (way > most) most = way, from = i;
                }
                back[(b * T + t) * K + j] = from;
            }
            v[j] = t == L - 1 ? e[j] + most + end[j] : e[j] + most;
        }
        __syncthreads();  // this step's scores are there, and those before have been read
        REAL* other = v;
        v = before, before = other;
    }
    if (threadIdx.x > 0) return;
    i64 tag = 0;
    for (i64 j = 1; j < K; ++j)
        if (before[j] > before[tag]) tag = j;
    scores[b] = before[tag];
    for (i64 t = L; t < T; ++t) tags[b * T + t] = -100;
    for (i64 t = L - 1; t > 0; --t) {
        tags[b * T + t] = tag;
        tag = back[(b * T + t) * K + tag];
    }
    tags[b * T] = tag;
}
