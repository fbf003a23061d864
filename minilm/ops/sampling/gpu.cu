// Sampling: from the logits of a text its next token; spec.py has the definition. One version, a block a text.
//
// The draw is made so that it does not depend on the order of the threads, and hardly on the device. x = (logit - peak) / temperature
// is computed in float64 by operations that round alike everywhere. Sums of e = exp(x) are sums of whole numbers of 2^-80 (Sum), in
// which no order of the additions shows. So threads may add to a bin of the histogram in any order, and a sum over a warp's stretch of
// the row equals the one that the warp gets when it walks through it.
//
//     cut            the largest x, as few as weigh more than `wanted`: top-k with weights of 1, top-p with weights e. A histogram of
//                    the interval that holds the least x to be kept, again and again, until the interval is one number.
//     first_beyond   the first place at which a running sum exceeds a number: of a bin, of the last of equal x, and of the draw.
#include "minilm_cuda.h"
#include "philox.h"

typedef unsigned long long u64;

// A sum of numbers of [0, 1]: high / 2^40 + low / 2^80. Up to 2^23 of them fit.
struct Sum {
    u64 high, low;
};

__device__ inline Sum plus(Sum a, Sum b) { return {a.high + b.high, a.low + b.low}; }

__device__ inline Sum sum_of(double e) {
    const double part = 1099511627776.0;  // 2^40
    u64 high = u64(e * part);
    return {high, u64((e * part - double(high)) * part)};
}

// Rounded to a double, the larger sum to the larger double.
__device__ inline double value(Sum s) {
    const double part = 1099511627776.0;
    u64 high = s.high + (s.low >> 40), low = s.low & ((1ull << 40) - 1);
    return (double(high) + double(low) / part) / part;
}

__device__ inline Sum warp_total(Sum s) { return {warp_sum(s.high), warp_sum(s.low)}; }

// What a block's threads share.
struct Scratch {
    u64 high[BINS], low[BINS];  // the weight of each bin
    Sum stretch[32];            // of each warp's part of a row
    Sum before;                 // the results of first_beyond: the sum before the place
    i64 place;                  // and the place
    u64 sums[32];
    double peak[32], smallest[32], largest[32];
    i64 places[32];
};

// The first of N places at which `before` and the weights up to it sum to more than `target`; the last place where none does. Every
// thread gets it; scratch.before has the sum before it. Each warp sums a stretch, and the one in whose stretch the target lies
// walks through it, 32 places at a time.
// Between two calls there is a barrier of the caller's, so that what the first has left in scratch has been read.
template <class Weight> __device__ inline i64 first_beyond(i64 N, Weight weight, Sum before, double target, Scratch& scratch) {
    i64 warps = blockDim.x / 32, length = (N + 32 * warps - 1) / (32 * warps) * 32;
    i64 first = warp() * length, end = min(N, first + length);
    Sum stretch = {0, 0};
    for (i64 n = first + lane(); n < end; n += 32) stretch = plus(stretch, weight(n));
    stretch = warp_total(stretch);
    if (lane() == 0) scratch.stretch[warp()] = stretch;
    if (threadIdx.x == 0) scratch.place = N - 1;
    __syncthreads();  // the stretches' sums are written
    Sum others = {0, 0};
    if (lane() < warp()) others = scratch.stretch[lane()];
    before = plus(before, warp_total(others));
    if (!(value(before) > target) && value(plus(before, stretch)) > target) {  // all lanes of one warp, or none
        for (i64 n0 = first; n0 < end; n0 += 32) {
            Sum own = {0, 0};
            if (n0 + lane() < end) own = weight(n0 + lane());
            Sum s = own;
            for (u32 by = 1; by < 32; by *= 2) {
                Sum left = {__shfl_up_sync(WHOLE_WARP, s.high, by), __shfl_up_sync(WHOLE_WARP, s.low, by)};
                if (lane() >= by) s = plus(s, left);
            }
            u32 beyond = __ballot_sync(WHOLE_WARP, value(plus(before, s)) > target);
            if (beyond) {
                if (lane() == u32(__ffs(int(beyond)) - 1)) {
                    scratch.place = n0 + lane();
                    scratch.before = {before.high + s.high - own.high, before.low + s.low - own.low};
                }
                break;
            }
            before = plus(before, {__shfl_sync(WHOLE_WARP, s.high, 31), __shfl_sync(WHOLE_WARP, s.low, 31)});
        }
    }
    __syncthreads();  // the place is written
    return scratch.place;
}

// One text's logits, and which tokens are kept: those with a larger x than `least`, and of those that equal it the ones up to `last`.
struct Row {
    const REAL* logits;  // (V)
    i64 V;
    double peak, temperature, least;
    i64 last;

    __device__ double x(i64 v) const { return (double(logits[v]) - peak) / temperature; }
    __device__ bool keeps(double x, i64 v) const { return x > least || (x == least && v <= last); }
    __device__ Sum weight(i64 v) const {
        double x_v = x(v);
        if (!keeps(x_v, v)) return {0, 0};
        return sum_of(exp(x_v));
    }
};

__device__ inline double total_of(const Row& row, Scratch& scratch) {
    Sum total = {0, 0};
    for (i64 v = threadIdx.x; v < row.V; v += blockDim.x) total = plus(total, row.weight(v));
    u64 high = block_sum(total.high, scratch.sums);
    return value({high, block_sum(total.low, scratch.sums)});
}

// Keep the largest x alone: as few as weigh more than `wanted`, each 1 where they are counted, else e.
__device__ inline void cut(Row& row, bool counted, double wanted, Scratch& scratch) {
    double largest = 0, smallest = 0;  // of the interval that holds the least x to be kept
    for (i64 v = threadIdx.x; v < row.V; v += blockDim.x) {
        double x = row.x(v);
        if (row.keeps(x, v)) smallest = min(smallest, x);
    }
    smallest = -block_max(-smallest, scratch.smallest);
    Sum above = {0, 0};  // the weight above the interval
    while (smallest < largest) {
        double width = largest - smallest;
        auto bin_of = [&](double x) { return int((largest - x) / width * (BINS - 1)); };
        for (int n = threadIdx.x; n < BINS; n += blockDim.x) scratch.high[n] = 0, scratch.low[n] = 0;
        __syncthreads();  // the bins are empty
        for (i64 v = threadIdx.x; v < row.V; v += blockDim.x) {
            double x = row.x(v);
            if (!(row.keeps(x, v) && smallest <= x && x <= largest)) continue;
            Sum weight = sum_of(counted ? 1.0 : exp(x));
            atomicAdd(scratch.high + bin_of(x), weight.high);
            if (weight.low) atomicAdd(scratch.low + bin_of(x), weight.low);
        }
        __syncthreads();  // the bins are full
        i64 chosen = first_beyond(BINS, [&](i64 n) { return Sum{scratch.high[n], scratch.low[n]}; }, above, wanted, scratch);
        above = scratch.before;
        double low = -double(INFINITE), high = -double(INFINITE);  // -low and high are the chosen bin's ends
        for (i64 v = threadIdx.x; v < row.V; v += blockDim.x) {
            double x = row.x(v);
            if (!(row.keeps(x, v) && smallest <= x && x <= largest && bin_of(x) == chosen)) continue;
            low = max(low, -x), high = max(high, x);
        }
        smallest = -block_max(low, scratch.smallest);
        largest = block_max(high, scratch.largest);
    }
    // Of those that equal the least x, as few as are wanted still.
    double room = (wanted - value(above)) / (counted ? 1.0 : exp(largest));
    auto equal = [&](i64 v) {
        double x = row.x(v);
        return sum_of(x == largest && row.keeps(x, v) ? 1.0 : 0.0);
    };
    row.last = first_beyond(row.V, equal, {0, 0}, room, scratch);
    row.least = largest;
}

extern "C" __global__ void sampling_draw(
    const REAL* logits,  // (B, V)
    i64* ids,            // (B)
    REAL* probability,   // (B)
    i64 B, i64 V, double temperature, i64 top_k, double top_p, KeyArguments key_args) {
    __shared__ Scratch scratch;
    i64 b = blockIdx.x;
    const REAL* own = logits + b * V;
    double peak = -double(INFINITE);
    for (i64 v = threadIdx.x; v < V; v += blockDim.x) peak = larger(peak, double(own[v]));
    peak = block_max(peak, scratch.peak);
    if (!isfinite(peak)) {
        if (threadIdx.x == 0) ids[b] = -1, probability[b] = REAL(peak - peak);  // NaN
        return;
    }
    if (temperature == 0) {
        i64 first = V;
        for (i64 v = threadIdx.x; v < V; v += blockDim.x)
            if (double(own[v]) == peak) first = min(first, v);
        first = -block_max(-first, scratch.places);
        if (threadIdx.x == 0) ids[b] = first, probability[b] = 1;
        return;
    }
    Row row = {own, V, peak, temperature, -746, V - 1};  // exp(-746) is 0
    if (top_k < V) cut(row, true, double(top_k) - 0.5, scratch);
    if (top_p < 1) cut(row, false, top_p * total_of(row, scratch) * (1 - 1e-12), scratch);
    double total = total_of(row, scratch), u = key_of(key_args).uniform(b);
    i64 drawn = first_beyond(V, [&](i64 v) { return row.weight(v); }, {0, 0}, u * total, scratch);
    if (threadIdx.x == 0) ids[b] = drawn, probability[b] = REAL(exp(row.x(drawn)) / total);
}
