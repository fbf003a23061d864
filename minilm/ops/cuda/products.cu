// Rounding to bfloat16, the upper half of a float32, to the nearest, ties to even.
#include "minilm_cuda.h"

extern "C" __global__ void to_bf16(
    const REAL* x,  // (N)
    u16* rounded,   // (N)
    i64 N) {
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        u32 bits = __float_as_uint(float(x[n]));
        bool nan = x[n] != x[n];
        rounded[n] = u16(nan ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}
