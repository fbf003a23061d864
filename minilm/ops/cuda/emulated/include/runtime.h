// What a kernel asks of the runtime: which thread it is, waiting, and a launch. The runtime (runtime.cpp) is the same for all
// kernels and compiled once: g++ took two thirds of its time for it when it was a part of every source.
#pragma once
#if defined(__SANITIZE_THREAD__)
// The shim itself must be invisible to the race detector.
#define SHIM __attribute__((noinline, no_sanitize("thread")))
#else
#define SHIM
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace shim {

enum State { READY, AT_BARRIER, AT_WARP, AT_GRID, EXITED };
enum Order { ASCENDING, DESCENDING, SHUFFLED };  // of the threads, and for DESCENDING of the blocks
enum Operation { FROM, XOR, UP, DOWN, BALLOT, TOGETHER };

struct Fibre {
    uint3 index;
    unsigned warp, lane;
    State state;
    int line;  // where it waits
    // what a lane brings to its warp's operation, and gets from it
    int operation, argument, width, predicate;
    unsigned mask;
    std::uint64_t value, result;
    void (*function)(void* const*);  // of an operation of the whole warp: gets what its lanes brought
    char arrived, released;  // tokens by which ThreadSanitizer learns what happened before what
    // what other blocks may see, and what this thread may see of theirs; see __threadfence
    char published, seen;
    const volatile unsigned* counter;  // that it waits for, until it has this value
    unsigned target;
    char* stack;
    void* at;  // saved stack pointer
    void* tsan;
    void* asan;
#if !defined(__x86_64__)
    ucontext_t context;
#endif
};

extern Fibre* running;
extern uint3 block_index_, block_size_, grid_size_;
extern char* dynamic_shared;

SHIM inline uint3 thread_index() { return running->index; }
SHIM inline uint3 block_index() { return block_index_; }
SHIM inline uint3 block_size() { return block_size_; }
SHIM inline uint3 grid_size() { return grid_size_; }

void barrier(int line);                                                        // __syncthreads
void wait_until(const volatile unsigned* counter, unsigned target, int line);  // until *counter >= target, by other blocks
void fence();                                                                  // __threadfence
std::uint64_t together(Operation operation, unsigned mask, std::uint64_t value, int argument, int width, int predicate, int line);
const char* run_grid(void (*function)(void*), void* data, uint3 grid, uint3 block, std::size_t shared, Order order,
                     bool cooperative);

template <class V> V exchange(Operation operation, unsigned mask, V v, int argument, int width, int line) {
    static_assert(sizeof(V) <= 8, "a shuffle moves at most 8 bytes");
    std::uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof v);
    bits = together(operation, mask, bits, argument, width, 0, line);
    std::memcpy(&v, &bits, sizeof v);
    return v;
}

inline unsigned ballot(unsigned mask, int predicate, int line) {
    return unsigned(together(BALLOT, mask, 0, 0, 32, predicate, line));
}

// All 32 lanes bring an object each, and one function gets them all: what a tensor core does with the registers of a warp.
template <auto function, class T> void whole_warp(T& own, int line = __builtin_LINE()) {
    running->function = [](void* const* brought) {
        T* lanes[32];
        for (int lane = 0; lane < 32; ++lane) lanes[lane] = static_cast<T*>(brought[lane]);
        function(lanes);
    };
    together(TOGETHER, ~0u, reinterpret_cast<std::uint64_t>(&own), 0, 32, 0, line);
}

}  // namespace shim
