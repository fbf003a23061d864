// The sigmoid, and what the recurrent ops share.
#pragma once

__device__ inline REAL sigmoid(REAL a) {
    REAL e = exp(-fabs(a));  // never overflows
    return (a < 0 ? e : REAL(1)) / (1 + e);
}

// Whether row b takes part in step t; lengths may be null
__device__ inline bool active(const i64* lengths, i64 b, i64 t) { return !lengths || t < lengths[b]; }
