// CUDA C on the CPU: what minilm_cuda.h includes in the place of a CUDA compiler's own knowledge.
//
// One block runs at a time, on one thread of the CPU, and every CUDA thread of it is a fibre (fibres.h). A fibre runs until it
// waits at a barrier or at a warp's operation (waiting.h); then the next one runs. Blocks run one after the other, or in a
// cooperative launch by turns (blocks.h). Those three files are the runtime (runtime.h). This file has the language: keywords,
// types, the variables threadIdx and so on, and the entry points through which Python launches a kernel.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
// Only one block runs at a time, so a static variable is exactly what a block shares. The section has a known begin and end: all of
// it is poisoned before every block, and changed for that of another where blocks take turns.
#define __shared__ static __attribute__((section("cuda_shared")))
#define DYN_SHARED(type, name) type* name = reinterpret_cast<type*>(shim::dynamic_shared)

struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};

#include "runtime.h"

#define threadIdx (shim::thread_index())
#define blockIdx (shim::block_index())
#define blockDim (shim::block_size())
#define gridDim (shim::grid_size())

#define __syncthreads() shim::barrier(__LINE__)
template <class V> V __shfl_sync(unsigned mask, V v, int lane, int width = 32, int line = __builtin_LINE()) {
    return shim::exchange(shim::FROM, mask, v, lane, width, line);
}
template <class V> V __shfl_xor_sync(unsigned mask, V v, int bits, int width = 32, int line = __builtin_LINE()) {
    return shim::exchange(shim::XOR, mask, v, bits, width, line);
}
template <class V> V __shfl_up_sync(unsigned mask, V v, unsigned by, int width = 32, int line = __builtin_LINE()) {
    return shim::exchange(shim::UP, mask, v, int(by), width, line);
}
template <class V> V __shfl_down_sync(unsigned mask, V v, unsigned by, int width = 32, int line = __builtin_LINE()) {
    return shim::exchange(shim::DOWN, mask, v, int(by), width, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
    return shim::ballot(mask, predicate, line);
}
#define WAIT_UNTIL_AT_LEAST(counter, target) shim::wait_until(counter, target, __LINE__)
inline void __threadfence() { shim::fence(); }
inline void __syncwarp(unsigned mask = ~0u, int line = __builtin_LINE()) { shim::ballot(mask, 0, line); }

// Atomic: no other fibre runs in between. Race detectors are not told, as on a GPU there is none to tell of.
#define ATOMIC __attribute__((noinline, no_sanitize("thread")))
template <class V, std::enable_if_t<!std::is_integral_v<V>, int> = 0> ATOMIC V atomicAdd(V* at, V v) {
    V old = *at;
    *at = old + v;
    return old;
}
// Of whole numbers they are told: a plain access that no barrier separates from an atomic one is a race.
template <class V, std::enable_if_t<std::is_integral_v<V>, int> = 0> V atomicAdd(V* at, V v) {
    return __atomic_fetch_add(at, v, __ATOMIC_RELAXED);
}
template <class V> ATOMIC V atomicMin(V* at, V v) { V old = *at; *at = v < old ? v : old; return old; }
template <class V> ATOMIC V atomicCAS(V* at, V if_, V v) { V old = *at; if (old == if_) *at = v; return old; }

inline float rsqrt(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(std::uint64_t(a) * b >> 32); }
inline unsigned __float_as_uint(float v) { unsigned u; std::memcpy(&u, &v, 4); return u; }
inline float __uint_as_float(unsigned u) { float v; std::memcpy(&v, &u, 4); return v; }
inline int __popc(unsigned u) { return __builtin_popcount(u); }
inline int __ffs(int u) { return __builtin_ffs(u); }
using std::erf;
using std::erfc;
using std::exp;
using std::expm1;
using std::fabs;
using std::isfinite;
using std::isnan;
using std::log;
using std::sqrt;
using std::tanh;
template <class V> V min(V a, V b) { return b < a ? b : a; }
template <class V> V max(V a, V b) { return a < b ? b : a; }

namespace shim {
// One letter a parameter, so that Python can check what it passes: P pointer, f, d, i (32 bits), q (64 bits), and for a struct S with
// its size in bytes.
template <class X> void add_letter(char*& at) {
    if (std::is_class_v<X>) at += std::sprintf(at, "S%u", unsigned(sizeof(X)));
    else *at++ = std::is_pointer_v<X> ? 'P' : std::is_same_v<X, float> ? 'f' : std::is_same_v<X, double> ? 'd'
               : sizeof(X) == 8 ? 'q' : sizeof(X) == 4 ? 'i' : '?';
}
template <class... A> const char* signature(void (*)(A...)) {
    static char letters[12 * sizeof...(A) + 1];
    char* at = letters;
    (add_letter<A>(at), ...);
    *at = 0;
    return letters;
}
template <class... A, std::size_t... I> void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<A>*>(arguments[I])...);
}
// Arguments come as pointers to their values, as cuLaunchKernel has them. Returns what went wrong, or null.
template <class... A>
const char* launch(void (*kernel)(A...), const unsigned* grid, const unsigned* block, std::size_t shared, int order, bool cooperative,
                   void** args) {
    struct Call {
        void (*kernel)(A...);
        void** arguments;
    } wanted{kernel, args};
    auto body = [](void* data) {
        Call* c = static_cast<Call*>(data);
        call(c->kernel, c->arguments, std::index_sequence_for<A...>{});
    };
    return run_grid(body, &wanted, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, shared, Order(order),
                    cooperative);
}
}  // namespace shim

#define SHIM_EXPORTED extern "C" __attribute__((visibility("default")))
#define SHIM_EXPORT(name)                                                                                                 \
    SHIM_EXPORTED const char* launch_##name(const unsigned* g, const unsigned* b, std::size_t s, int o, int c, void** a) { \
        return shim::launch(name, g, b, s, o, c, a);                                                                      \
    }                                                                                                                     \
    SHIM_EXPORTED const char* signature_##name() { return shim::signature(name); }
