// Random numbers. One version: bits by a thread a block of four words, uniform numbers by a thread a number.
#include "minilm_cuda.h"
#include "philox.h"

extern "C" __global__ void philox_fill(
    u32* bits,  // (N)
    i64 N, KeyArguments key_args) {
    Key key = key_of(key_args);
    i64 fours = (N + 3) / 4;
    for (i64 block = thread_of_grid(); block < fours; block += threads_of_grid()) {
        Words words = key.words(u32(block));
        for (int i = 0; i < 4; ++i)
            if (4 * block + i < N) bits[4 * block + i] = words.w[i];
    }
}

// Numbers in [0, 1): whole multiples of 2^-24 from the upper 24 bits of a word, or of 2^-53 for float64.
extern "C" __global__ void philox_uniform(
    REAL* u,  // (N)
    i64 N, KeyArguments key_args) {
    Key key = key_of(key_args);
    for (i64 n = thread_of_grid(); n < N; n += threads_of_grid()) {
        if (sizeof(REAL) == 4) {
            u[n] = REAL(key.bits(n) >> 8) * REAL(5.9604644775390625e-08);
        } else {
            u[n] = REAL(key.uniform(n));
        }
    }
}
