// Tensor cores: one product of small matrices by the 32 lanes of a warp, and what it needs, each in one function.
//
//     D = A B + C        A (16, k), B (k, 8), C and D (16, 8) in float32; k is 16 for bf16 and 8 for tf32
//
// Which lane holds which elements is fixed (PTX ISA, "Matrix fragments for mma.m16n8k16" and "for mma.m16n8k8"). With g = lane / 4
// and t = lane % 4, as (row, column):
//
//     C, D       c[0] (g, 2t)            c[1] (g, 2t + 1)        c[2] (g + 8, 2t)        c[3] (g + 8, 2t + 1)
//     A of tf32  a[0] (g, t)             a[1] (g + 8, t)         a[2] (g, t + 4)         a[3] (g + 8, t + 4)
//     B of tf32  b0 (t, g)               b1 (t + 4, g)
//     A of bf16  a[0] (g, 2t), + 1       a[1] (g + 8, 2t), + 1   a[2] (g, 2t + 8), + 1   a[3] (g + 8, 2t + 8), + 1
//     B of bf16  b0 (2t, g), (2t + 1, g)                         b1 (2t + 8, g), (2t + 9, g)
//
// A register of bf16 has two numbers, the first in the lower half. Every function here is called by whole warps. They need an sm_80
// or later: what is compiled for an older GPU traps, and whoever launches asks for the device's compute capability before.
#pragma once

#if defined(MINILM_ON_CPU)

namespace twin {

struct Fragments {
    const u32* a;
    u32 b0, b1;
    float* c;
};

// The product from the fragments of all lanes: matrices are put together by the table above, multiplied, and handed out.
template <bool HALVES> SHIM void multiply(Fragments* const* lanes) {
    const int DEPTH = HALVES ? 16 : 8;
    float A[16][16], B[16][8];
    auto put = [](float& at, u32 bits) { at = __uint_as_float(bits); };
    for (int l = 0; l < 32; ++l) {
        int g = l / 4, t = l % 4;
        u32 b[2] = {lanes[l]->b0, lanes[l]->b1};
        for (int part = 0; part < 2; ++part) {  // of the k columns of A and rows of B
            if (!HALVES) put(B[t + 4 * part][g], b[part] & 0xffffe000u);  // it reads no more bits
            for (int half = 0; HALVES && half < 2; ++half) put(B[2 * t + 8 * part + half][g], b[part] >> 16 * half << 16);
            for (int lower = 0; lower < 2; ++lower) {  // rows 8 to 15
                u32 bits = lanes[l]->a[2 * part + lower];
                if (!HALVES) put(A[g + 8 * lower][t + 4 * part], bits & 0xffffe000u);
                for (int half = 0; HALVES && half < 2; ++half) put(A[g + 8 * lower][2 * t + 8 * part + half], bits >> 16 * half << 16);
            }
        }
    }
    for (int l = 0; l < 32; ++l)
        for (int e = 0; e < 4; ++e) {
            float sum = lanes[l]->c[e];
            for (int k = 0; k < DEPTH; ++k) sum += A[l / 4 + 8 * (e / 2)][k] * B[k][2 * (l % 4) + e % 2];
            lanes[l]->c[e] = sum;
        }
}

struct Row {
    const u32* own;
    const u32* all[32];
};

SHIM inline void tell_all(Row* const* lanes) {
    for (int l = 0; l < 32; ++l)
        for (int from = 0; from < 32; ++from) lanes[l]->all[from] = lanes[from]->own;
}

}  // namespace twin

#define TENSOR_CORES 2
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define TENSOR_CORES 0
#else
#define TENSOR_CORES 1
#endif

// c += A B of bf16
__device__ inline void mma_bf16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#if TENSOR_CORES == 2
    twin::Fragments own = {a, b0, b1, c};
    shim::whole_warp<twin::multiply<true>>(own);
#elif TENSOR_CORES
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    __trap();
#endif
}

// c += A B of tf32
__device__ inline void mma_tf32(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#if TENSOR_CORES == 2
    twin::Fragments own = {a, b0, b1, c};
    shim::whole_warp<twin::multiply<false>>(own);
#elif TENSOR_CORES
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    __trap();
#endif
}

// Two numbers rounded to bf16, to the nearest and of two to the even one, as a register holds them.
__device__ inline u32 bf16_pair(float first, float second) {
    u32 pair = 0;
#if TENSOR_CORES == 2
    auto rounded = [](float v) {
        u32 bits = __float_as_uint(v);
        return v != v ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    };
    pair = rounded(first) | rounded(second) << 16;
#elif TENSOR_CORES
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
#else
    __trap();
#endif
    return pair;
}

// A number rounded to the 10 bits of tf32, to the nearest and of two to the larger one.
__device__ inline u32 tf32(float v) {
    u32 rounded = 0;
#if TENSOR_CORES == 2
    rounded = v != v ? 0x7fffffffu : (__float_as_uint(v) + 0x1000u) & 0xffffe000u;
#elif TENSOR_CORES
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(v));
#else
    __trap();
#endif
    return rounded;
}

// Words side by side in shared memory by one instruction; the place is a multiple of their size.
__device__ inline void put_words(u32* to, u32 first, u32 second) {
#if TENSOR_CORES == 2
    to[0] = first, to[1] = second;
#else
    *reinterpret_cast<uint2*>(to) = make_uint2(first, second);
#endif
}
__device__ inline void put_words(u32* to, u32 first, u32 second, u32 third, u32 fourth) {
#if TENSOR_CORES == 2
    to[0] = first, to[1] = second, to[2] = third, to[3] = fourth;
#else
    *reinterpret_cast<uint4*>(to) = make_uint4(first, second, third, fourth);
#endif
}

// Four matrices of 8 rows of 4 words in shared memory: lanes 8m to 8m + 7 say where the rows of matrix m begin, each at a multiple of
// 16 bytes; r[m] becomes word t of row g of matrix m.
__device__ inline void load_matrices(u32 (&r)[4], const u32* row) {
#if TENSOR_CORES == 2
    twin::Row rows = {row, {}};
    shim::whole_warp<twin::tell_all>(rows);
    for (int m = 0; m < 4; ++m) r[m] = rows.all[8 * m + lane() / 4][lane() % 4];
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(u32(__cvta_generic_to_shared(row)))
                 : "memory");
#endif
}

// The same of 8 rows of 8 halves each, and transposed: r[m] becomes half g of rows 2t and 2t + 1 of matrix m.
__device__ inline void load_matrices_transposed(u32 (&r)[4], const u32* row) {
#if TENSOR_CORES == 2
    twin::Row rows = {row, {}};
    shim::whole_warp<twin::tell_all>(rows);
    u32 g = lane() / 4, t = lane() % 4;
    auto half = [&](u32 from) { return rows.all[from][g / 2] >> 16 * (g % 2) & 0xffffu; };
    for (u32 m = 0; m < 4; ++m) r[m] = half(8 * m + 2 * t) | half(8 * m + 2 * t + 1) << 16;
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(u32(__cvta_generic_to_shared(row)))
                 : "memory");
#endif
}
