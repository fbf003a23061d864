// The conditional random field. One version: a block a row of the batch and a thread a tag, step after step with a barrier between two.
#include "minilm_cuda.h"

struct Crf {
    const REAL* transitions;  // (K, K)
    const REAL* start;        // (K) or null: backward needs none
    const REAL* end;          // (K)
    const i64* lengths;       // (B) or null
    i64 B, T, K;
};

__device__ inline i64 steps_of(const i64* lengths, i64 b, i64 T) { return lengths ? lengths[b] : T; }

// n, or 0 where it is -inf: whatever it is subtracted from then stays as it is
__device__ inline REAL or_zero(REAL n) { return n == -INFINITE ? REAL(0) : n; }

// LSE of x[0], x[step], ... plus y, where there is one
__device__ inline REAL log_sum_exp(const REAL* x, const REAL* y, i64 step, i64 K) {
    REAL m = -INFINITE, s = 0;
    for (i64 k = 0; k < K; ++k) m = larger(m, x[k] + (y ? y[k * step] : REAL(0)));
    m = or_zero(m);
    for (i64 k = 0; k < K; ++k) s += exp(x[k] + (y ? y[k * step] : REAL(0)) - m);
    return m + log(s);
}

extern "C" __global__ void crf_forward(
    Crf args,
    const REAL* emissions,  // (B, T, K)
    const i64* tags,        // (B, T)
    REAL* alpha,            // (B, T, K)
    REAL* nll) {            // (B)
    i64 T = args.T, K = args.K;
    DYN_SHARED(REAL, shared);
    REAL *before = shared, *u = shared + K;  // (K) each
    i64 b = blockIdx.x, L = steps_of(args.lengths, b, T);
    const REAL* e = emissions + b * T * K;
    const i64* y = tags + b * T;
    double loss = 0;  // as spec.py's second form has it: no term is negative
    for (i64 t = 0; t < L; ++t) {
        for (i64 j = threadIdx.x; j < K; j += blockDim.x)
            u[j] = e[t * K + j] + (t == 0 ? args.start[j] : log_sum_exp(before, args.transitions + j, K, K));
        if (t > 0 && threadIdx.x == 0)
            loss += or_zero(log_sum_exp(before, args.transitions + y[t], K, K)) -
                    (before[y[t - 1]] + args.transitions[y[t - 1] * K + y[t]]);
        __syncthreads();  // u is written, and before has been read
        REAL n = or_zero(log_sum_exp(u, nullptr, 0, K));
        for (i64 j = threadIdx.x; j < K; j += blockDim.x) before[j] = alpha[(b * T + t) * K + j] = u[j] - n;
        __syncthreads();  // before is written, and u has been read
    }
    for (i64 n = L * K + threadIdx.x; n < T * K; n += blockDim.x) alpha[b * T * K + n] = 0;
    if (threadIdx.x == 0)
        nll[b] = REAL(loss + or_zero(log_sum_exp(before, args.end, 1, K)) - (before[y[L - 1]] + args.end[y[L - 1]]));
}

extern "C" __global__ void crf_backward(
    Crf args,
    const REAL* dnll,    // (B)
    const i64* tags,     // (B, T)
    const REAL* alpha,   // (B, T, K)
    REAL* demissions,    // (B, T, K)
    REAL* dtransitions,  // (B, K, K) what each row adds
    REAL* dend) {        // (B, K) likewise
    i64 T = args.T, K = args.K;
    DYN_SHARED(REAL, shared);
    REAL *p = shared, *norm = shared + K;  // (K) each
    i64 b = blockIdx.x, L = steps_of(args.lengths, b, T);
    const REAL* a = alpha + b * T * K;
    const i64* y = tags + b * T;
    REAL d = dnll[b], *dA = dtransitions + b * K * K;
    REAL n_L = or_zero(log_sum_exp(a + (L - 1) * K, args.end, 1, K));
    for (i64 n = threadIdx.x; n < (T - L) * K; n += blockDim.x) demissions[(b * T + L) * K + n] = 0;
    for (i64 j = threadIdx.x; j < K; j += blockDim.x) {
        p[j] = exp(a[(L - 1) * K + j] + args.end[j] - n_L);
        dend[b * K + j] = d * (p[j] - (y[L - 1] == j ? REAL(1) : REAL(0)));
        for (i64 i = 0; i < K; ++i) dA[j * K + i] = 0;  // a thread has the same rows of dA to the end
    }
    for (i64 t = L - 1; t >= 0; --t) {
        for (i64 j = threadIdx.x; j < K; j += blockDim.x) {
            demissions[(b * T + t) * K + j] = d * (p[j] - (y[t] == j ? REAL(1) : REAL(0)));
            if (t > 0) norm[j] = or_zero(log_sum_exp(a + (t - 1) * K, args.transitions + j, K, K));
        }
        if (t == 0) break;
        __syncthreads();  // p and norm are written
        REAL sums[32];    // of this thread's tags: 1,024 threads have 32 each at most
        int count = 0;
        for (i64 i = threadIdx.x; i < K; i += blockDim.x) {
            REAL sum = 0;
            for (i64 j = 0; j < K; ++j) {
                REAL q = p[j] * exp(a[(t - 1) * K + i] + args.transitions[i * K + j] - norm[j]);
                REAL right = y[t - 1] == i && y[t] == j ? REAL(1) : REAL(0);
                dA[i * K + j] += d * (q - right);
                sum += q;
            }
            sums[count++] = sum;
        }
        __syncthreads();  // p and norm have been read
        count = 0;
        for (i64 i = threadIdx.x; i < K; i += blockDim.x) p[i] = sums[count++];
    }
}

// Viterbi: the best tag before each, and the way back from the best last one.
extern "C" __global__ void crf_decode(
    Crf args,
    const REAL* emissions,  // (B, T, K)
    i64* back,              // (B, T, K)
    i64* tags,              // (B, T)
    REAL* scores) {         // (B)
    i64 T = args.T, K = args.K;
    DYN_SHARED(REAL, shared);
    REAL *v = shared, *next = shared + K;  // (K) each
    i64 b = blockIdx.x, L = steps_of(args.lengths, b, T);
    const REAL* e = emissions + b * T * K;
    for (i64 j = threadIdx.x; j < K; j += blockDim.x) v[j] = args.start[j] + e[j];
    for (i64 t = 1; t < L; ++t) {
        __syncthreads();  // v is written
        for (i64 j = threadIdx.x; j < K; j += blockDim.x) {
            i64 best = 0;
            for (i64 i = 1; i < K; ++i)
                if (v[i] + args.transitions[i * K + j] > v[best] + args.transitions[best * K + j]) best = i;
            back[(b * T + t) * K + j] = best;
            next[j] = e[t * K + j] + (v[best] + args.transitions[best * K + j]);
        }
        __syncthreads();  // v has been read
        for (i64 j = threadIdx.x; j < K; j += blockDim.x) v[j] = next[j];
    }
    __syncthreads();  // v is written, and so is back
    if (threadIdx.x > 0) return;
    i64 tag = 0;
    for (i64 j = 1; j < K; ++j)
        if (v[j] + args.end[j] > v[tag] + args.end[tag]) tag = j;
    scores[b] = v[tag] + args.end[tag];
    for (i64 t = T - 1; t >= 0; --t) {
        tags[b * T + t] = t < L ? tag : -100;
        if (t < L && t > 0) tag = back[(b * T + t) * K + tag];
    }
}
