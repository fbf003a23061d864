// Philox 4x32-10, as minilm.ops.philox.spec defines it: CPU and GPU draw the same numbers.
#pragma once

struct Words {
    u32 w[4];
};

// Which stream of numbers: see minilm.random.Key.
struct Key {
    u32 place, step_lo, step_hi, seed_lo, seed_hi;

    // The four random words of block number `block`.
    __device__ Words words(u32 block) const {
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
    __device__ u32 bits(i64 i) const {
        Words four = words(u32(i / 4));  // chosen, not indexed: registers have no numbers that a program can compute
        u32 lower = i % 2 ? four.w[1] : four.w[0], upper = i % 2 ? four.w[3] : four.w[2];
        return i % 4 > 1 ? upper : lower;
    }

    // Number i in [0, 1): a whole multiple of 2^-53, from 27 and 26 bits of two words.
    __device__ double uniform(i64 i) const {
        Words drawn = words(u32(i / 2));
        u32 high = drawn.w[i % 2 * 2] >> 5, low = drawn.w[i % 2 * 2 + 1] >> 6;
        return (high * 67108864.0 + low) * 1.1102230246251565e-16;
    }
};

// A key as Python hands it over. A step that changes from launch to launch of a CUDA graph, whose numbers do not, lies on the device.
struct KeyArguments {
    const i64* step;  // (1) or null
    u32 place, step_lo, step_hi, seed_lo, seed_hi;
};

__device__ inline Key key_of(KeyArguments args) {
    if (!args.step) return {args.place, args.step_lo, args.step_hi, args.seed_lo, args.seed_hi};
    return {args.place, u32(*args.step), u32(*args.step >> 32), args.seed_lo, args.seed_hi};
}
