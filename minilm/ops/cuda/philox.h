// Philox 4x32-10, as minilm.ops.philox.spec defines it: CPU and GPU draw the same numbers.
#pragma once

struct Words {
    u32 w[4];
};

// The four random words of block number `block` under a key.
__device__ inline Words philox(u32 block, u32 place, u32 step_lo, u32 step_hi, u32 seed_lo, u32 seed_hi) {
    u32 c0 = block, c1 = place, c2 = step_lo, c3 = step_hi, k0 = seed_lo, k1 = seed_hi;
    for (int round = 0; round < 10; ++round) {
        u32 high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        u32 high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c2 = high0 ^ c3 ^ k1;
        c1 = low1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// The 32 random bits of element i.
__device__ inline u32 philox_bits(i64 i, u32 place, u32 step_lo, u32 step_hi, u32 seed_lo, u32 seed_hi) {
    return philox(u32(i / 4), place, step_lo, step_hi, seed_lo, seed_hi).w[i % 4];
}
