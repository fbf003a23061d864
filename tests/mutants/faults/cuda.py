"""Faults in CUDA kernels, run on the CPU that plays a GPU."""

from tests.mutants.fault import area

AGREES = "tests/ops/test_gpu.py"
NUMBERS = "tests/ops/test_exact_numbers.py"

FAULTS = area(
    "cuda",
    (
        "clip: squares summed in float",
        "minilm/ops/clip/gpu.cu",
        "sum += double(grad[n]) * double(grad[n]);",
        "sum += grad[n] * grad[n];",
        f"{NUMBERS} -k norm",
    ),
    (
        "cross-entropy: the total of class weights in float",
        "minilm/ops/cross_entropy/gpu.cu",
        "    double sum = 0;\n    for (i64 n = threadIdx.x; n < N; n += blockDim.x) {\n        i64 t",
        "    REAL sum = 0;\n"
        "    __shared__ REAL scratch_[32];\n"
        "    for (i64 n = threadIdx.x; n < N; n += blockDim.x) {\n"
        "        i64 t",
        f"{NUMBERS} -k weight",
    ),
    (
        "cross-entropy: smoothing leaves out the target's class",
        "minilm/ops/cross_entropy/gpu.cu",
        "REAL q = (v == t ? row.a : REAL(0)) + row.b * (args.weight ? args.weight[v] : REAL(1));\n"
        "            args.dlogits[n * V + v] = row.factor",
        "REAL q = v == t ? row.a : row.b * (args.weight ? args.weight[v] : REAL(1));\n"
        "            args.dlogits[n * V + v] = row.factor",
        f"{AGREES} -k cross_entropy",
    ),
    (
        "negative sampling: += for atomicAdd",
        "minilm/ops/negative_sampling/gpu.cu",
        "else atomicAdd(x, by);",
        "else *x += by;",
        "tests/ops/test_gpu_sources.py -k atomic",
    ),
    (
        "attention: a head of keys has the gradient of one reader",
        "minilm/ops/attention/gpu.cu",
        "number < first.number + share; ++number",
        "number < first.number + 1; ++number",
        f"{AGREES} -k attention",
    ),
    (
        "attention 2: causal, one key too few",
        "minilm/ops/attention/gpu.cu",
        "min(Tk, i0 + TQ + Tk - Tq)) : Tk;  // no query",
        "min(Tk, i0 + TQ + Tk - Tq - 1)) : Tk;  // no query",
        "tests/ops/test_attention_edges.py -k gpu",
    ),
    (
        "attention 2: causal, one key too few in dquery",
        "minilm/ops/attention/gpu.cu",
        "min(Tk, i0 + TQ + Tk - Tq)) : Tk;\n",
        "min(Tk, i0 + TQ + Tk - Tq - 1)) : Tk;\n",
        "tests/ops/test_attention_edges.py -k gpu",
    ),
    (
        "attention 2: queries before the tile that see its first key",
        "minilm/ops/attention/gpu.cu",
        "max(i64(0), j0 - (Tk - Tq)) / TQ * TQ",
        "max(i64(0), j0 + 1 - (Tk - Tq) + TQ - 1) / TQ * TQ",
        "tests/ops/test_attention_edges.py -k gpu",
    ),
    (
        "attention: the band is one key wider",
        "minilm/ops/attention/see.h",
        "(band && j <= last - band)",
        "(band && j < last - band)",
        "tests/ops/test_attention_edges.py -k gpu",
    ),
    (
        "attention: dropout's factor not in the gradient",
        "minilm/ops/attention/gpu.cu",
        "dP = factor * dot(g_tile",
        "dP = dot(g_tile",
        f"{AGREES} -k attention",
    ),
    (
        "attention 2: the sum is not rescaled to the new maximum",
        "minilm/ops/attention/gpu.cu",
        "l[r] = l[r] * factor + sum, rescale",
        "l[r] = l[r] + sum, rescale",
        f"{AGREES} -k attention",
    ),
    (
        "embedding: an offset of 32 bits",
        "minilm/ops/embedding/gpu.cu",
        "y[n * D + d] = known ?",
        "y[int(n * D) + d] = known ?",
        "tests/ops/test_gpu_sources.py -k embedding",
    ),
    (
        "softmax: the row's offset in 32 bits",
        "minilm/ops/softmax/gpu.cu",
        "i64 row = blockIdx.x * V;",
        "int row = blockIdx.x * V;",
        "tests/ops/test_gpu_sources.py -k softmax",
    ),
    (
        "dropout: a count in 32 bits",
        "minilm/ops/dropout/gpu.cu",
        "i64 decision = n / (S * C) * C + n % C;",
        "u32 decision = n / (S * C) * C + n % C;",
        "tests/ops/test_gpu_sources.py -k dropout",
    ),
    (
        "embedding: the first of equal ids only",
        "minilm/ops/embedding/gpu.cu",
        "for (i64 n = first; n < N && ids[order[n]] == v; ++n) sum",
        "for (i64 n = first; n < first + 1; ++n) sum",
        f"{AGREES} -k embedding",
    ),
    (
        "adam: correction by 1 - pow in float",
        "minilm/ops/adam/gpu.cu",
        "REAL correction1 = -expm1(t * log_beta1), correction2 = -expm1(t * log_beta2);",
        "REAL correction1 = 1 - exp(t * log_beta1), correction2 = 1 - exp(t * log_beta2);",
        f"{NUMBERS} -k adam",
    ),
    (
        "adam: decoupled decay without the rate",
        "minilm/ops/adam/gpu.cu",
        "if (decoupled) p -= eta * decay;",
        "if (decoupled) p -= decay;",
        f"{AGREES} -k adam",
    ),
    (
        "adam: a norm that is not finite is learned from",
        "minilm/ops/adam/gpu.cu",
        "    if (!isfinite(factor)) return;\n",
        "",
        "tests/training/test_cuda.py -k finite",
    ),
    (
        "crf: decode, ties to the later tag",
        "minilm/ops/crf/gpu.cu",
        "if (v[i] + args.transitions[i * K + j] > v[best]",
        "if (v[i] + args.transitions[i * K + j] >= v[best]",
        f"{NUMBERS} -k tags",
    ),
    (
        "crf: a barrier is missing",
        "minilm/ops/crf/gpu.cu",
        "        __syncthreads();  // u is written, and before has been read\n",
        "",
        "tests/ops/test_gpu_sanitized.py -k crf",
    ),
    (
        "lstm 2: rows that have ended go on",
        "minilm/ops/lstm/gpu.cu",
        "            if (part) h_now[n] = h_t;\n            args.h[after * B",
        "            h_now[n] = h_t;\n            args.h[after * B",
        f"{AGREES} -k lstm",
    ),
    (
        "layer norm: variance by one number less",
        "minilm/ops/cuda/normalise.h",
        "warp_sum(sum) / D + eps",
        "warp_sum(sum) / (D - 1) + eps",
        f"{AGREES} -k layer_norm",
    ),
    (
        "sums of a block: the last warp is left out",
        "minilm/ops/cuda/minilm_cuda.h",
        "return warp_sum(lane() < blockDim.x / 32 ?",
        "return warp_sum(lane() < blockDim.x / 32 - (blockDim.x > 32) ?",
        f"{AGREES} -k softmax",
    ),
    (
        "a maximum that loses a NaN",
        "minilm/ops/cuda/minilm_cuda.h",
        "(a > b || a != a) ? a : b",
        "a > b ? a : b",
        f"{NUMBERS} -k none",
    ),
    (
        "sampling: += for atomicAdd",
        "minilm/ops/sampling/gpu.cu",
        "atomicAdd(scratch.high + bin_of(x), weight.high);",
        "scratch.high[bin_of(x)] += weight.high;",
        "tests/ops/test_gpu_sanitized.py -k sampling",
    ),
    (
        "sampling: of equal logits a later one",
        "minilm/ops/sampling/gpu.cu",
        "(x == least && v <= last)",
        "(x == least && v < last)",
        f"{NUMBERS} -k logits",
    ),
    (
        "additive attention: masked keys are seen",
        "minilm/ops/additive_attention/gpu.cu",
        "P[j] = shown(args.key_mask, b * Tk + j) ? sum : -INFINITE;",
        "P[j] = sum;",
        f"{AGREES} -k additive",
    ),
    (
        "the number of a thread in the grid has 32 bits",
        "minilm/ops/cuda/minilm_cuda.h",
        "return i64(blockIdx.x) * blockDim.x +",
        "return blockIdx.x * blockDim.x +",
        "tests/ops/test_gpu_sources.py -k 64_bits",
    ),
)
