// Cross-entropy of the rows of logits (N, V), and its gradient in the same call, since forward has all that it takes.
//
// forward, version 1   A thread a row, as a CPU would do it: reads numbers V apart, four passes over the row.
// forward, version 2   The default. A block a row: largest logit and sum in one pass; a second writes the gradient, and finds the
//                      logits in the cache. Without gradient and smoothing there is no second pass.
// backward             A product by the loss's gradient, a thread a number; none runs where that gradient is 1.
//
// Sums over the rows are one block's, in float64 and an order of their own, so that the bits repeat.
#include "minilm_cuda.h"
#include "online.h"

struct CrossEntropy {
    const REAL* logits;   // (N, V)
    const i64* targets;   // (N)
    const REAL* weight;   // (V) or null
    double* total;        // (1) or null: the sum of the rows' weights, where the loss is their mean
    REAL* losses;         // (N)
    REAL* dlogits;        // (N, V) or null
    i64 N, V, ignore_index;
    REAL smoothing;
};

// total = sum of weight[targets[n]] over the rows that count, in float64; one block
extern "C" __global__ void cross_entropy_total(CrossEntropy args) {
    i64 N = args.N, V = args.V;
    __shared__ double scratch[32];
    double sum = 0;
    for (i64 n = threadIdx.x; n < N; n += blockDim.x) {
        i64 t = args.targets[n];
        if (t != args.ignore_index) sum += !args.weight ? 1.0 : t >= 0 && t < V ? double(args.weight[t]) : 0.0;
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) args.total[0] = sum;
}

// loss = sum of the rows' losses, divided by total where there is one; one block
extern "C" __global__ void cross_entropy_reduce(
    CrossEntropy args,
    REAL* loss) {  // (1)
    i64 N = args.N;
    __shared__ double scratch[32];
    double sum = 0;
    for (i64 n = threadIdx.x; n < N; n += blockDim.x) sum += args.losses[n];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) loss[0] = REAL(args.total ? sum / args.total[0] : sum);  // 0 / 0 = NaN where all rows are ignored
}

// Thread by thread what one row needs: Q = sum q, and the loss, from m and s of the row.
//   loss = Q (log s) - sum q[v] (x[v] - m)     with q[v] = a [v = t] + b weight[v]
struct Row {
    REAL a, b;     // what the target class has for itself, and what every class has, but for its weight
    REAL factor;   // 1 / total
    bool counts;
};

__device__ inline Row row_of(const CrossEntropy& args, i64 t) {
    bool known = t >= 0 && t < args.V;  // another one, which the public function refuses, gives NaN
    REAL w = !known ? INFINITE - INFINITE : args.weight ? args.weight[t] : REAL(1);
    REAL factor = args.total ? REAL(1 / args.total[0]) : REAL(1);
    return {(1 - args.smoothing) * w, args.smoothing / args.V, factor, t != args.ignore_index};
}

extern "C" __global__ void cross_entropy_forward_1(CrossEntropy args) {
    i64 N = args.N, V = args.V;
    i64 n = thread_of_grid();
    if (n >= N) return;
    const REAL* x = args.logits + n * V;
    i64 t = args.targets[n];
    Row row = row_of(args, t);
    REAL m = x[0];
    for (i64 v = 1; v < V; ++v) m = larger(m, x[v]);
    REAL log_s = log(sum_of_exp(x, m, V));
    double Q = row.a, against = 0;
    if (args.smoothing > 0)  // else 0 times -inf would stand here
        for (i64 v = 0; v < V; ++v) {
            REAL b = row.b * (args.weight ? args.weight[v] : REAL(1));
            Q += b;
            against += b * (x[v] - m - log_s);
        }
    if (t >= 0 && t < V) against += row.a * (x[t] - m - log_s);
    else against = row.a;
    args.losses[n] = row.counts ? REAL(-against) : REAL(0);
    if (args.dlogits)
        for (i64 v = 0; v < V; ++v) {
            REAL q = (v == t ? row.a : REAL(0)) + row.b * (args.weight ? args.weight[v] : REAL(1));
            args.dlogits[n * V + v] = row.counts ? row.factor * (REAL(Q) * exp(x[v] - m - log_s) - q) : REAL(0);
        }
}

extern "C" __global__ void cross_entropy_forward_2(CrossEntropy args) {
    i64 V = args.V;
    __shared__ REAL scratch[64];
    i64 n = blockIdx.x, t = args.targets[n];
    const REAL* x = args.logits + n * V;
    Row row = row_of(args, t);
    if (!row.counts) {
        if (threadIdx.x == 0) args.losses[n] = 0;
        if (args.dlogits)
            for (i64 v = threadIdx.x; v < V; v += blockDim.x) args.dlogits[n * V + v] = 0;
        return;
    }
    Online o = {-INFINITE, 0};
    for (i64 v = threadIdx.x; v < V; v += blockDim.x) o = with(o, x[v]);
    o = block_merge(o, scratch);
    REAL log_s = log(o.s), Q = row.a, against = 0;
    if (args.smoothing > 0) {
        REAL part_Q = 0, part = 0;
        for (i64 v = threadIdx.x; v < V; v += blockDim.x) {
            REAL b = row.b * (args.weight ? args.weight[v] : REAL(1));
            part_Q += b;
            part += b * (x[v] - o.m - log_s);
        }
        Q += block_sum(part_Q, scratch);
        against = block_sum(part, scratch);
    }
    if (threadIdx.x == 0) {
        bool known = t >= 0 && t < V;
        args.losses[n] = known ? -(against + row.a * (x[t] - o.m - log_s)) : row.a;
    }
    if (args.dlogits)
        for (i64 v = threadIdx.x; v < V; v += blockDim.x) {
            REAL q = (v == t ? row.a : REAL(0)) + row.b * (args.weight ? args.weight[v] : REAL(1));
            args.dlogits[n * V + v] = row.factor * (Q * exp(x[v] - o.m - log_s) - q);
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
