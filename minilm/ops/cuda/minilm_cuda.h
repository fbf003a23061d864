// What every .cu file begins with: the one place that knows which compiler reads it, and the sums that all kernels share.
//
// REAL is float or double, by -DREAL=...; a file is compiled once for each. Counts and offsets are of 64 bits (i64): a logits
// array of 8 x 1,024 rows and 50,257 classes has more than 2**28 numbers, and larger ones pass 2**31.
#pragma once
#if defined(MINILM_ON_CPU)  // g++: see the folder emulated
#include "shim.h"
#else
#define DYN_SHARED(type, name)                                  \
    extern __shared__ __align__(16) unsigned char name##_raw[]; \
    type* name = reinterpret_cast<type*>(name##_raw)
#define WAIT_UNTIL_AT_LEAST(counter, target) \
    while (*reinterpret_cast<const volatile unsigned*>(counter) < (target)) {}
#endif
#ifndef REAL
#define REAL float
#endif

typedef long long i64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;

#define WHOLE_WARP 0xffffffffu
#define INFINITE REAL(__uint_as_float(0x7f800000u))

// The index of this thread among all threads of the grid, and their number: the grid-stride loop of elementwise kernels.
__device__ inline i64 thread_of_grid() { return i64(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline i64 threads_of_grid() { return i64(gridDim.x) * blockDim.x; }

__device__ inline u32 lane() { return threadIdx.x % 32; }
__device__ inline u32 warp() { return threadIdx.x / 32; }

template <class V> __device__ inline V warp_sum(V v) {
    for (int bits = 16; bits > 0; bits /= 2) v += __shfl_xor_sync(WHOLE_WARP, v, bits);
    return v;
}

// fmax would drop a NaN
template <class V> __device__ inline V larger(V a, V b) { return (a > b || a != a) ? a : b; }

template <class V> __device__ inline V warp_max(V v) {
    for (int bits = 16; bits > 0; bits /= 2) v = larger(v, __shfl_xor_sync(WHOLE_WARP, v, bits));
    return v;
}

// Sum over the threads of a block, of whole warps in one dimension; every thread gets it. The order of the additions depends on
// the block's size alone, so the bits repeat. `scratch` has room for 32 numbers of shared memory.
template <class V> __device__ inline V block_sum(V v, V* scratch) {
    v = warp_sum(v);
    __syncthreads();  // what the call before left in scratch has been read
    if (lane() == 0) scratch[warp()] = v;
    __syncthreads();
    return warp_sum(lane() < blockDim.x / 32 ? scratch[lane()] : V(0));
}

// As block_sum, but the first to use this scratch: it does not wait until others have read it.
template <class V> __device__ inline V block_max(V v, V* scratch) {
    v = warp_max(v);
    if (lane() == 0) scratch[warp()] = v;
    __syncthreads();
    return warp_max(lane() < blockDim.x / 32 ? scratch[lane()] : scratch[0]);
}
