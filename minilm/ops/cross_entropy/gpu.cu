// Cross-entropy and its gradient: one row's loss and dlogits by one block, and sums over the rows in an order of their own.
#include "minilm_cuda.h"
#include "online.h"

// total = sum of weight[targets[n]] over the rows that count, in float64; one block
extern "C" __global__ void cross_entropy_total(
    const i64* targets,  // (N)
    const REAL* weight,  // (V) or null
    double* total,       // (1)
    i64 N, i64 V, i64 ignore_index) {
    __shared__ double scratch[32];
    double sum = 0;
    for (i64 n = threadIdx.x; n < N; n += blockDim.x) {
        i64 t = targets[n];
        if (t != ignore_index) sum += !weight ? 1.0 : t >= 0 && t < V ? double(weight[t]) : 0.0;
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) total[0] = sum;
}

// loss = sum of the rows' losses, divided by total where there is one; one block
extern "C" __global__ void cross_entropy_reduce(
    const REAL* losses,   // (N)
    const double* total,  // (1) or null
    REAL* loss,           // (1)
    i64 N) {
    __shared__ double scratch[32];
    double sum = 0;
    for (i64 n = threadIdx.x; n < N; n += blockDim.x) sum += losses[n];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) loss[0] = REAL(total ? sum / total[0] : sum);  // 0 / 0 = NaN where all rows are ignored
}

// Thread by thread what one row needs: Q = sum q, and the loss, from m and s of the row.
//   loss = Q (log s) - sum q[v] (x[v] - m)     with q[v] = a [v = t] + b weight[v]
struct Row {
    REAL a, b;     // what the target class has for itself, and what every class has, but for its weight
    REAL factor;   // 1 / total
    bool counts;
};

__device__ inline Row row_of(i64 t, const REAL* weight, const double* total, i64 V, i64 ignore_index, REAL smoothing) {
    bool known = t >= 0 && t < V;  // another one, which the public function refuses, gives NaN
    REAL w = !known ? INFINITE - INFINITE : weight ? weight[t] : REAL(1);
    return {(1 - smoothing) * w, smoothing / V, total ? REAL(1 / total[0]) : REAL(1), t != ignore_index};
}

// One thread a row.
extern "C" __global__ void cross_entropy_forward_1(
    const REAL* logits,   // (N, V)
    const i64* targets,   // (N)
    const REAL* weight,   // (V) or null
    const double* total,  // (1) or null
    REAL* losses,         // (N)
    REAL* dlogits,        // (N, V) or null
    i64 N, i64 V, i64 ignore_index, REAL smoothing) {
    i64 n = thread_of_grid();
    if (n >= N) return;
    const REAL* x = logits + n * V;
    i64 t = targets[n];
    Row row = row_of(t, weight, total, V, ignore_index, smoothing);
    REAL m = x[0];
    for (i64 v = 1; v < V; ++v) m = larger(m, x[v]);
    REAL log_s = log(sum_of_exp(x, m, V));
    double Q = row.a, against = 0;
    if (smoothing > 0)  // else 0 times -inf would stand here
        for (i64 v = 0; v < V; ++v) {
            REAL b = row.b * (weight ? weight[v] : REAL(1));
            Q += b;
            against += b * (x[v] - m - log_s);
        }
    if (t >= 0 && t < V) against += row.a * (x[t] - m - log_s);
    else against = row.a;
    losses[n] = row.counts ? REAL(-against) : REAL(0);
    if (dlogits)
        for (i64 v = 0; v < V; ++v) {
            REAL q = (v == t ? row.a : REAL(0)) + row.b * (weight ? weight[v] : REAL(1));
            dlogits[n * V + v] = row.counts ? row.factor * (REAL(Q) * exp(x[v] - m - log_s) - q) : REAL(0);
        }
}

// One block a row, with the largest logit and the sum in one pass; the second pass writes the gradient, and finds the numbers in
// the cache. Without gradient and smoothing there is no second pass.
extern "C" __global__ void cross_entropy_forward_2(
    const REAL* logits,   // (N, V)
    const i64* targets,   // (N)
    const REAL* weight,   // (V) or null
    const double* total,  // (1) or null
    REAL* losses,         // (N)
    REAL* dlogits,        // (N, V) or null
    i64 N, i64 V, i64 ignore_index, REAL smoothing) {
    __shared__ REAL scratch[64];
    i64 n = blockIdx.x, t = targets[n];
    const REAL* x = logits + n * V;
    Row row = row_of(t, weight, total, V, ignore_index, smoothing);
    if (!row.counts) {
        if (threadIdx.x == 0) losses[n] = 0;
        if (dlogits)
            for (i64 v = threadIdx.x; v < V; v += blockDim.x) dlogits[n * V + v] = 0;
        return;
    }
    Online o = {-INFINITE, 0};
    for (i64 v = threadIdx.x; v < V; v += blockDim.x) o = with(o, x[v]);
    o = block_merge(o, scratch);
    REAL log_s = log(o.s), Q = row.a, against = 0;
    if (smoothing > 0) {
        REAL part_Q = 0, part = 0;
        for (i64 v = threadIdx.x; v < V; v += blockDim.x) {
            REAL b = row.b * (weight ? weight[v] : REAL(1));
            part_Q += b;
            part += b * (x[v] - o.m - log_s);
        }
        Q += block_sum(part_Q, scratch);
        against = block_sum(part, scratch);
    }
    if (threadIdx.x == 0) {
        bool known = t >= 0 && t < V;
        losses[n] = known ? -(against + row.a * (x[t] - o.m - log_s)) : row.a;
    }
    if (dlogits)
        for (i64 v = threadIdx.x; v < V; v += blockDim.x) {
            REAL q = (v == t ? row.a : REAL(0)) + row.b * (weight ? weight[v] : REAL(1));
            dlogits[n * V + v] = row.factor * (Q * exp(x[v] - o.m - log_s) - q);
        }
}

// dlogits of the loss for a gradient other than 1: one for all rows, or one a row
extern "C" __global__ void cross_entropy_backward(
    const REAL* dloss,    // (M)
    const REAL* dlogits,  // (N, V)
    REAL* scaled,         // (N, V)
    i64 N, i64 V, i64 M) {
    for (i64 i = thread_of_grid(); i < N * V; i += threads_of_grid()) scaled[i] = dloss[M == 1 ? 0 : i / V] * dlogits[i];
}
