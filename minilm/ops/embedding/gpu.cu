// Embedding: rows of a table W (V, D), by ids (N).
//
// forward               A block a row.
// backward, version 1   A block a row of the table, which looks through all ids for its own: V N comparisons.
// backward, version 2   The default. The ids are sorted; a block an id adds the rows of all its places, and reads each row of dy once.
//
// Atomic additions would add the places of an id in any order: other bits on every run. Both versions add in the order of n.
#include "minilm_cuda.h"

// An id out of range, which the public function refuses, would read anywhere: it gives NaN.
extern "C" __global__ void embedding_forward(
    const i64* ids,  // (N)
    const REAL* W,   // (V, D)
    REAL* y,         // (N, D)
    i64 N, i64 V, i64 D) {
    i64 n = blockIdx.x, v = ids[n];
    bool known = v >= 0 && v < V;
    for (i64 d = threadIdx.x; d < D; d += blockDim.x) y[n * D + d] = known ? W[v * D + d] : INFINITE - INFINITE;
}

extern "C" __global__ void embedding_backward_1(
    const REAL* dy,  // (N, D)
    const i64* ids,  // (N)
    REAL* dW,        // (V, D)
    i64 N, i64 V, i64 D, i64 padding_idx) {
    i64 v = blockIdx.x;
    for (i64 d = threadIdx.x; d < D; d += blockDim.x) {
        REAL sum = 0;
        if (v != padding_idx)
            for (i64 n = 0; n < N; ++n)
                if (ids[n] == v) sum += dy[n * D + d];
        dW[v * D + d] = sum;
    }
}

// `order` sorts the ids, equal ones by n. A block a place: the first place of each id adds the rows of all its places.
extern "C" __global__ void embedding_backward_2(
    const REAL* dy,     // (N, D)
    const i64* ids,     // (N)
    const i64* order,   // (N)
    REAL* dW,           // (V, D)
    i64 N, i64 V, i64 D, i64 padding_idx) {
    i64 first = blockIdx.x, v = ids[order[first]];
    if (first > 0 && ids[order[first - 1]] == v) return;
    if (v == padding_idx || v < 0 || v >= V) return;
    for (i64 d = threadIdx.x; d < D; d += blockDim.x) {
        REAL sum = 0;
        for (i64 n = first; n < N && ids[order[n]] == v; ++n) sum += dy[order[n] * D + d];
        dW[v * D + d] = sum;
    }
}
