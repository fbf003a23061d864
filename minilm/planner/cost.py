"""What a training step costs: parameters, operations, bytes and calls of each part, and the time they take on a machine.

A step reads N = B T tokens. With a product's rate F, a recurrent layer's F_r, memory's R, exponentials' E and a call's time c::

    seconds = products / F + recurrent / F_r + bytes / R + exponentials / E + calls c

where a product whose sums have few terms, K, runs at a part of F: K / (K + 70), and K / (K + 45) of F_r in a recurrent layer.
These, and what a layer keeps, were measured on one processor (AVX-512, two cores). On a GPU a product's own bytes come while it
multiplies (`Machine.overlaps`): of these two times the longer one counts.

forward and backward together: a product has two products of its size in its backward. The parts that a processor can do at once
are added all the same, so that the estimate is rather too long than too short. The optimizer is a pass over parameters, their
gradients and two means: 32 bytes a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from minilm.planner.hardware import Machine
from minilm.planner.rates import LARGE, RECURRENT

__all__ = [
    "Cost",
    "attention",
    "block",
    "decoder_attention",
    "embedding",
    "linear",
    "muon",
    "norm",
    "recurrent",
    "softmax",
    "total",
    "word2vec",
]

F32 = 4  # bytes
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
KEPT = {"rnn": 1.7, "gru": 4.9, "lstm": 5.6}  # numbers a unit and step that the backward needs: gates, cells, states
GRADIENTS = {"rnn": 0.5, "gru": 4.2, "lstm": 4.8}  # the same of gradients, in one layer at a time
TERMS, RECURRENT_TERMS = 70, 45  # a product whose sums have K terms takes 1 + TERMS / K of the time that its operations need
PACKED = 1 << 21  # bytes of rows that a product holds packed, at the most
KEYS = 340  # attention to fewer takes as long
ROWS = 8  # rows of the recurrent kernel's tile: fewer in a batch cost as much
PASSES = 6  # over an activation's bytes for something elementwise, forward and backward


class Cost(NamedTuple):
    """What one training step costs, the optimizer's part left out."""

    parameters: int = 0
    products: float = 0.0  # operations
    recurrent: float = 0.0  # operations
    moved: float = 0.0  # bytes, but for those of products
    exponentials: float = 0.0
    calls: float = 0.0
    questions: float = 0.0  # word2vec's, each 64 numbers wide
    activations: float = 0.0  # bytes that are kept for the backward
    short: float = 0.0  # operations that could have been done while products of few terms a sum began and ended
    recurrent_short: float = 0.0  # the same of recurrent layers
    operands: float = 0.0  # bytes that products read and write
    working: float = 0.0  # bytes that a part needs while it computes, and the next one has again

    def __add__(self, other: Cost) -> Cost:  # type: ignore[override]
        sums = [a + b for a, b in zip(self, other, strict=True)]
        return Cost(*sums[:-1], max(self.working, other.working))

    def __mul__(self, times: float) -> Cost:  # type: ignore[override]
        return Cost(*(a * times for a in self[:-1]), self.working)

    def __rmul__(self, times: float) -> Cost:
        return self * times

    def seconds(self, machine: Machine, update: bool = True) -> float:
        """Seconds of a whole step; without `update` the optimizer's part is left out."""
        passes = 8 * F32 * self.parameters if update and not self.questions else 0  # word2vec updates as it goes
        products = (self.products + self.short) / (machine.matmul * (1 + TERMS / LARGE[1]))
        operands = self.operands / machine.bandwidth
        return (
            (max(products, operands) if machine.overlaps else products + operands)
            + (self.recurrent + self.recurrent_short) / (machine.recurrent * (1 + RECURRENT_TERMS / RECURRENT["H"]))
            + (self.moved + passes) / machine.bandwidth
            + self.exponentials / machine.exponentials
            + (self.calls + 3) * machine.call
            + self.questions / machine.questions
        )

    def least(self, machine: Machine) -> float:
        """Seconds of the products alone, if their sums had so many terms that beginning and ending them took no time."""
        of_maps = self.products / (machine.matmul * (1 + TERMS / LARGE[1]))
        return of_maps + self.recurrent / (machine.recurrent * (1 + RECURRENT_TERMS / RECURRENT["H"]))

    def memory(self) -> float:
        """Bytes while training: weights, gradients, the optimizer's two means, activations, and what a part works in."""
        copies = 1 if self.questions else 4
        return copies * F32 * self.parameters + self.activations + self.working


def total(parts: Iterable[Cost]) -> Cost:
    """The sum of some costs."""
    cost = Cost()
    for part in parts:
        cost = cost + part
    return cost


def linear(N: int, I: int, O: int, shared: bool = False, bias: bool = True) -> Cost:
    """An affine map of N rows, (N, I) to (N, O); with `shared` its weight is another layer's."""
    weights = I * O
    moved = F32 * (4 * N * (I + O) + 3 * weights)
    short = 2.0 * N * weights * TERMS * (1 / I + 1 / O + 1 / N)  # forward, and the two products of the backward
    parameters = (0 if shared else weights) + bias * O
    return Cost(parameters, 6.0 * N * weights, calls=4, activations=F32 * N * O, short=short, operands=moved)


def embedding(N: int, V: int, D: int) -> Cost:
    """A table's rows for N ids. Its gradient is as large as the table: made, added and cleared."""
    return Cost(V * D, 0, 0, F32 * (4.0 * N * D + 4 * V * D), 0, 4, 0, 0)


def recurrent(kind: str, T: int, B: int, D: int, H: int, layers: int = 1, both: bool = False) -> Cost:
    """Layers of LSTM, GRU or RNN, in one direction or both."""
    G, directions = GATES[kind], 2 if both else 1
    cost, rows = Cost(), -(-B // ROWS) * ROWS
    for layer in range(layers):
        width = D if layer == 0 else directions * H
        weights = G * H * (width + H + 2)
        work = 3 * 2.0 * T * rows * G * H * (width + H)
        moved = F32 * T * B * (width + 4 * G * H + 6 * H) * 1.0 + 4.0 * F32 * weights
        kept = F32 * (KEPT[kind] * T * B * H + 1.2 * weights)  # the weights as the kernel packs them
        packed = min(PACKED, 1.5 * F32 * T * B * max(D, H))
        working = F32 * (T * B * (GRADIENTS[kind] * H + 3 * D) + 0.3 * weights) + packed
        short = RECURRENT_TERMS * 3 * 2.0 * T * rows * G * H * 2  # the two products' terms are `width` and H
        cost += directions * Cost(weights, 0, work, moved, 0, 12, 0, kept, recurrent_short=short, working=working)
    return cost


def muon(kind: str, D: int, H: int, layers: int, ns_steps: int) -> Cost:
    """What Muon makes orthogonal in a step, of recurrent layers; by squares, as `minilm.ops.muon.cpu` does in float32."""
    products, GH = 0.0, GATES[kind] * H
    for I in [D] + [H] * (2 * layers - 1):  # W_ih of the first layer, and W_hh and the later W_ih
        short, long = min(GH, I), max(GH, I)
        products += 4.0 * short**2 * long + (4 * ns_steps - 3) * 2.0 * short**3
    return Cost(products=products, calls=20 * layers)


def attention(B: int, Tq: int, Tk: int, D: int, heads: int, causal: bool) -> Cost:
    """Multi-head attention, its four maps included."""
    part = 0.5 if causal else 1.0
    seen = part * B * Tq * Tk
    maps = linear(B * Tq, D, D) + 2 * linear(B * Tk, D, D) + linear(B * Tq, D, D)
    short = 7 * 2.0 * B * Tq * D * max(0.0, KEYS - part * Tk)
    return maps + Cost(0, 7 * 2.0 * seen * D, 0, 0, 2 * seen * heads, 4, 0, F32 * B * Tq * (D + heads), short)


def norm(N: int, D: int) -> Cost:
    """Layer normalisation with the residual before it."""
    return Cost(2 * D, 0, 0, PASSES * 2.0 * F32 * N * D, 0, 4, 0, 0)


def block(B: int, T: int, D: int, heads: int, causal: bool, inner: int | None = None) -> Cost:
    """A transformer's block: attention, two maps with a GELU between them, two norms."""
    N, inner = B * T, inner or 4 * D
    gelu = Cost(0, 0, 0, PASSES * F32 * N * inner, 0.5 * N * inner, 2, 0, F32 * N * inner)
    parts = attention(B, T, T, D, heads, causal) + linear(N, D, inner) + gelu + linear(N, inner, D) + 2 * norm(N, D)
    # kept: q, k, v, their mixture, two sums with their norms (8 D) and the network's layer before and behind the GELU
    return parts._replace(activations=F32 * N * (8.0 * D + 2 * inner + heads + 4), working=F32 * N * (17.0 * D + 2 * inner))


def decoder_attention(B: int, Tq: int, Tk: int, H: int) -> Cost:
    """Attention of a recurrent decoder over an encoder's states, and the map that joins context and state."""
    scores = Cost(0, 3 * 2 * 2.0 * B * Tq * Tk * H, 0, 0, 2.0 * B * Tq * Tk, 6, 0, F32 * B * Tq * Tk * 2)
    return scores + linear(B * Tk, H, H) + linear(B * Tq, 2 * H, H)


def softmax(N: int, V: int) -> Cost:
    """Softmax and cross-entropy of N rows."""
    return Cost(
        0, 0, 0, 3.0 * F32 * N * V, 1.0 * N * V, 2, 0, F32 * N * V
    )  # the logits are kept by the map before it, their gradient here


def word2vec(words: int, V: int, D: int, window: int, negatives: int, cbow: bool) -> Cost:
    """A pass of word2vec over some words; a window is on average half as wide as it may be, on both sides."""
    predictions = words * (1 if cbow else window + 1)
    return Cost(2 * V * D, 0, 0, 0, 0, 0, predictions * (negatives + 1) * D / 64, 0)
