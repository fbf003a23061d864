// Negative sampling. One version of each:
//
// forward   A warp a row: the questions of its target and of its negatives.
// dh        A thread a number.
// dW        The words are sorted; a block a word adds the rows of all its places, in their order, so that the bits repeat.
// train     word2vec's training, word after word, by one warp, or by several that do not wait for one another.
#include "minilm_cuda.h"
#include "gates.h"

typedef unsigned long long u64;

// A batch: N rows of D numbers, the word that each is to predict, and K others for each.
struct Batch {
    const REAL* h;         // (N, D)
    const REAL* W;         // (V, D)
    const i64* targets;    // (N)
    const i64* negatives;  // (N, K)
    i64 N, V, D, K;
};

__device__ inline double softplus(double s) { return (s > 0 ? s : 0.0) + log(1 + exp(-fabs(s))); }

extern "C" __global__ void negative_sampling_forward(
    Batch args,
    REAL* g,         // (N, K + 1)
    double* losses,  // (N)
    REAL divisor) {
    i64 N = args.N, V = args.V, D = args.D, K = args.K;
    i64 n = i64(blockIdx.x) * (blockDim.x / 32) + warp();
    if (n >= N) return;
    double loss = 0;
    for (i64 k = 0; k <= K; ++k) {
        i64 word = k == 0 ? args.targets[n] : args.negatives[n * K + k - 1];
        bool counts = k == 0 || word != args.targets[n], known = word >= 0 && word < V;
        REAL sum = 0;
        for (i64 d = lane(); counts && d < D; d += 32)
            sum += known ? args.h[n * D + d] * args.W[word * D + d] : INFINITE - INFINITE;
        sum = warp_sum(sum);
        if (counts) loss += softplus(k == 0 ? -sum : sum);
        if (lane() == 0) g[n * (K + 1) + k] = counts ? (sigmoid(sum) - (k == 0 ? REAL(1) : REAL(0))) / divisor : REAL(0);
    }
    if (lane() == 0) losses[n] = loss;
}

// loss = sum of losses / divisor; one block
extern "C" __global__ void negative_sampling_reduce(
    const double* losses,  // (N)
    REAL* loss,            // (1)
    i64 N, double divisor) {
    __shared__ double scratch[32];
    double sum = 0;
    for (i64 n = threadIdx.x; n < N; n += blockDim.x) sum += losses[n];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) loss[0] = REAL(sum / divisor);  // 0 / 0 = NaN where there are no rows
}

extern "C" __global__ void negative_sampling_dh(
    Batch args,
    const REAL* g,  // (N, K + 1)
    REAL* dh,       // (N, D)
    REAL dloss) {
    i64 N = args.N, D = args.D, K = args.K;
    for (i64 at = thread_of_grid(); at < N * D; at += threads_of_grid()) {
        i64 n = at / D, d = at % D;
        REAL sum = 0;
        for (i64 k = 0; k <= K; ++k) {
            i64 word = k == 0 ? args.targets[n] : args.negatives[n * K + k - 1];
            sum += dloss * g[n * (K + 1) + k] * args.W[word * D + d];
        }
        dh[at] = sum;
    }
}

// `order` sorts the N (K + 1) words, equal ones by place. A block a place: the first of each word adds the rows of all its places.
extern "C" __global__ void negative_sampling_dW(
    Batch args,
    const REAL* g,     // (N, K + 1)
    const i64* words,  // (N, K + 1)
    const i64* order,  // (N, K + 1)
    REAL* dW,          // (V, D)
    REAL dloss) {
    i64 N = args.N, D = args.D, K = args.K;
    i64 first = blockIdx.x, word = words[order[first]];
    if (first > 0 && words[order[first - 1]] == word) return;
    for (i64 d = threadIdx.x; d < D; d += blockDim.x) {
        REAL sum = 0;
        for (i64 n = first; n < N * (K + 1) && words[order[n]] == word; ++n)
            sum += dloss * g[order[n]] * args.h[order[n] / (K + 1) * D + d];
        dW[word * D + d] = sum;
    }
}

// --- one word after the other ---------------------------------------------------------------------------------------

#define GOLDEN 0x9E3779B97F4A7C15ull
#define MIX1 0xBF58476D1CE4E5B9ull
#define MIX2 0x94D049BB133111EBull

// SplitMix64
__device__ inline u64 next_random(u64& state) {
    u64 z = state += GOLDEN;
    z = (z ^ (z >> 30)) * MIX1;
    z = (z ^ (z >> 27)) * MIX2;
    return z ^ (z >> 31);
}

// A number that other blocks may change is read past this multiprocessor's own cache, and added to as a whole.
__device__ inline REAL seen(const REAL* x, bool alone) { return alone ? *x : *(const volatile REAL*)x; }

__device__ inline void moved(REAL* x, REAL by, bool alone) {
    if (alone) *x += by;
    else atomicAdd(x, by);
}

// One question: the loss; dh += g other, and other moves. A lane has every 32nd number.
__device__ inline double question(const REAL* h, REAL* other, REAL y, REAL rate, REAL* dh, i64 D, bool alone) {
    REAL sum = 0;
    for (i64 d = lane(); d < D; d += 32) sum += h[d] * seen(other + d, alone);
    sum = warp_sum(sum);
    REAL g = sigmoid(sum) - y;
    for (i64 d = lane(); d < D; d += 32) {
        dh[d] += g * seen(other + d, alone);
        moved(other + d, -rate * g * h[d], alone);
    }
    return softplus(y > 0 ? -sum : sum);
}

// Each word's step starts from what the one before it left, so one warp has all the work: with one stream. With several each warp
// has every streams-th sentence, and starts from what all have done so far, whichever came first. All lanes draw the same numbers.
extern "C" __global__ void negative_sampling_train(
    REAL* W_in,            // (V, D)
    REAL* W_out,           // (V, D)
    const i64* ids,        // (M)
    const i64* starts,     // (S + 1)
    const double* keep,    // (V)
    const double* accept,  // (V)
    const i64* alias,      // (V)
    i64* all_left,         // (M) words that subsampling leaves, each sentence's in its place
    double* totals,          // (streams, 2) loss and predictions
    i64 V, i64 D, i64 M, i64 S, int cbow, i64 window, i64 negatives, double lr, double lr_end, i64 seed, i64 first, i64 done,
    i64 total, i64 streams) {
    DYN_SHARED(REAL, shared);
    REAL *h = shared, *dh = shared + D;  // (D) each
    double loss = 0, predictions = 0;
    bool alone = streams == 1;
    for (i64 s = blockIdx.x; s < S; s += streams) {
        i64* left = all_left + starts[s];
        u64 state = u64(seed) + u64(first + s + 1) * MIX1 + GOLDEN;
        i64 count = 0;
        for (i64 place = starts[s]; place < starts[s + 1]; ++place) {
            double drawn = double(next_random(state) >> 11) * 1.1102230246251565e-16;
            if (drawn < keep[ids[place]]) {
                if (lane() == 0) left[count] = ids[place];
                ++count;
            }
        }
        __syncwarp();
        for (i64 i = 0; i < count; ++i) {
            double read = done + starts[s] - starts[0] + double((starts[s + 1] - starts[s]) * (i + 1)) / double(count);
            double part = read / double(total > 1 ? total : 1);
            REAL rate = REAL(lr + (lr_end - lr) * (part < 1 ? part : 1.0));
            i64 b = 1 + i64((next_random(state) >> 32) * u64(window) >> 32), low = max(i64(0), i - b), high = min(count, i + b + 1);
            if (high - low < 2) continue;
            REAL share = 1 / REAL(cbow ? high - low - 1 : 1);
            for (i64 d = lane(); d < D; d += 32) {
                REAL sum = 0;
                for (i64 o = cbow ? low : i; o < (cbow ? high : i + 1); ++o)
                    if (!cbow || o != i) sum += seen(W_in + left[o] * D + d, alone);
                h[d] = sum * share, dh[d] = 0;
            }
            for (i64 j = cbow ? i : low; j < (cbow ? i + 1 : high); ++j) {
                if (j == i && !cbow) continue;
                i64 target = left[j];
                loss += question(h, W_out + target * D, REAL(1), rate, dh, D, alone);
                for (i64 k = 0; k < negatives; ++k) {
                    u64 z = next_random(state);
                    i64 word = i64((z >> 32) * u64(V) >> 32);
                    if (double(z & 0xffffffffull) * 2.3283064365386963e-10 >= accept[word]) word = alias[word];
                    if (word != target) loss += question(h, W_out + word * D, REAL(0), rate, dh, D, alone);
                }
                predictions += 1;
            }
            for (i64 o = cbow ? low : i; o < (cbow ? high : i + 1); ++o)
                if (!cbow || o != i)
                    for (i64 d = lane(); d < D; d += 32) moved(W_in + left[o] * D + d, -rate * share * dh[d], alone);
        }
        __syncwarp();  // left has been read
    }
    if (lane() == 0) totals[2 * blockIdx.x] = loss, totals[2 * blockIdx.x + 1] = predictions;
}
