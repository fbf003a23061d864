"""Weights in fewer bits, for inference: what is stored, what is computed, and how far off it is.

========  ==========  =================================================================
array     shape       meaning
========  ==========  =================================================================
x         (N, K)      inputs, float32
W         (O, K)      weights, float32 (PyTorch's orientation)
q         (O, K)      int8 codes of W, -127 ... 127
s         (O, G)      scales of W, float32: one for every group of g numbers of a row
p, t      (N, K/G)    the same of x, made anew at every call: codes p, scales t
d, m      (O, G)      of int4, scales and least numbers, float16
y         (N, O)      outputs, float32
========  ==========  =================================================================

Symmetric quantisation of a group of numbers w[0] ... w[g - 1]. g = 64 unless another is chosen, or a whole row::

    s    = max_k |w[k]| / 127
    q[k] = round(w[k] 127 / max_k |w[k]|)               to the nearest whole number, halves to the even one
    w[k] ≈ s q[k],      |w[k] - s q[k]| <= s / 2         up to float32's rounding

A group of zeros has s = 0. The largest number of a group sets the error of all, so short groups are more accurate; each costs
4 bytes, with g = 64 one sixteenth of the codes.

int8: y ≈ x Wᵀ with the groups k ∈ γ of both::

    n[γ]    = sum_{k ∈ γ} p[n, k] q[o, k]                a whole number, exact: in any order
    y[n, o] = sum_γ n[γ] (t[n, γ] s[o, γ])               float32, fused multiply-adds, γ in order

    |y - x Wᵀ| <= sum_γ sum_{k ∈ γ} (|x[k]| s/2 + |W[k]| t/2 + s t/4)

Since a sum of whole numbers is exact, and the groups come in order, the bits depend neither on threads, nor on the rows beside,
nor on the instructions.

bf16: W is rounded to bfloat16, the upper half of a float32, to the nearest, halves to the even one; |w - bf16(w)| <= 2^-8 |w|.
y is what float32 arithmetic gives with these weights, bit for bit: they are widened in registers.

int4: a group of 32 has a scale d and a least number m, both float16, as blocks of GGUF's type Q4_1; a byte holds two codes::

    m    = float16(min_k w[k]),   d = float16((max_k w[k] - m) / 15), at least 0
    q[k] = round((w[k] - m) / d)                        0 ... 15
    w[k] ≈ d q[k] + m
    y[n, o] = sum_γ  n[γ] (t[n, γ] d[o, γ])  +  m[o, γ] (t[n, γ] sum_{k ∈ γ} p[n, k])            n[γ] as above

five bits a weight, all told. The table of logits, which most models share with the embedding and are most sensitive to, has int8
with the same groups. So blocks of the types Q4_0 (m = -8 d), Q4_1 and, of lm_head, Q8_0 are taken as they are.

Sources: T. Dettmers et al., LLM.int8(): 8-bit matrix multiplication for transformers at scale, NeurIPS 2022 (scales of rows of
x); A. Karpathy, llama2.c, runq.c, 2023 (groups of both); Z. Yao et al., ZeroQuant, NeurIPS 2022 (groups); G. Gerganov et al.,
llama.cpp, ggml-quants.c (Q4_1, and x in 8 bits).
"""

from __future__ import annotations

GROUP = 64  # numbers that share a scale, unless another is chosen
SMALL_GROUP = 32  # of int4
FORMATS = ("int8", "bf16", "int4")
LOGITS = ("lm_head.weight", "output.weight")  # what language models and encoder-decoders call their table of logits


def form_of(name: str, kind: str, group: int | None) -> tuple[str, int | None]:
    """Format and group of one weight, by its dotted name, of a model in a format: the table of logits of an int4 one has int8."""
    return ("int8", SMALL_GROUP) if kind == "int4" and name in LOGITS else (kind, group)
