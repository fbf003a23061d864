// A barrier of blocks that are all on the device at once, which a cooperative launch promises.
//
// Each block counts itself in and waits until all have been counted. The counter only grows, so there is nothing to be set back
// between two barriers: the n-th is passed at n times the number of blocks. The launcher zeroes it; 2**32 arrivals are its end.
//
// What a thread wrote before the barrier, every thread of every block reads after it. By CUDA's memory model: __syncthreads orders
// the writes of the block before thread 0's fence; the fence before the addition (together they release) makes them come before
// whatever follows a fence (acquire) of a thread that has read the counter after that addition; and the second __syncthreads passes
// this on to the rest of its block. The fence also drops what the multiprocessor's L1 cache, which does not see other
// multiprocessors' writes, still holds. `volatile` makes the loop read memory each time; it orders nothing.
//
// counter  u32*  this group of blocks' own
// target   u32   blocks of the group times the number of the barrier, counted from 1
#pragma once

#define grid_barrier(counter, target)             \
    do {                                          \
        __syncthreads();                          \
        if (threadIdx.x == 0) {                   \
            __threadfence();                      \
            atomicAdd(counter, 1u);               \
            WAIT_UNTIL_AT_LEAST(counter, target); \
            __threadfence();                      \
        }                                         \
        __syncthreads();                          \
    } while (0)
