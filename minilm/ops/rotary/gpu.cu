// Rotary positions: one version, a thread a number. It reads its number and the other one of the pair, which its neighbour reads too
// and which therefore comes from the cache; so the kernel moves x and y once, and that is all it could do.
#include "minilm_cuda.h"

extern "C" __global__ void rotary(
    const REAL* x,         // (N, H, K)
    const REAL* cosines,   // (P, half)
    const REAL* sines,     // (P, half)
    const i64* positions,  // (N) or null: n % T
    REAL* y,               // (N, H, K)
    i64 N, i64 T, i64 H, i64 K, i64 P, i64 half, i64 interleaved,
    REAL sign) {  // 1 turns forwards, -1 back
    for (i64 i = thread_of_grid(); i < N * H * K; i += threads_of_grid()) {
        i64 k = i % K, n = i / (H * K), p = positions ? positions[n] : n % T;
        if (k >= 2 * half) {
            y[i] = x[i];
            continue;
        }
        i64 r = interleaved ? k / 2 : k % half;
        bool first = interleaved ? k % 2 == 0 : k < half;
        i64 distance = interleaved ? 1 : half;
        bool known = p >= 0 && p < P;  // the public function refuses others, which would read anywhere: they give NaN
        REAL c = known ? cosines[p * half + r] : INFINITE - INFINITE, s = known ? sign * sines[p * half + r] : c;
        y[i] = first ? x[i] * c - x[i + distance] * s : x[i - distance] * s + x[i] * c;
    }
}
