"""The same computations in PyTorch, as a user of PyTorch would write them.

Nothing here handicaps the peer: tensors are contiguous and 32 bits wide, gradients are asked for the same arguments, and
where PyTorch offers several ways (time first or batch first) each is tried and the quickest is the one that competes.

`OPS` maps an op of the registry to a function ``(torch, a) -> list of Way``, where `a` holds the op's arguments by name,
arrays as tensors; an op that PyTorch lacks has no entry. `STEPS` does so for ops without a gradient.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.timing import SETTLE


class Way(NamedTuple):
    """One way to compute an op in PyTorch."""

    forward: Callable[[], Any]  # -> the output that the cotangent belongs to
    inputs: list  # tensors to differentiate by, in minilm's order of gradients
    time_axis: int = 0  # 1: batch first, so that output and first gradient must be transposed to be compared


def quickest(ways: list[Callable[[], Any]]) -> Callable[[], Any]:
    """The one of several functions that takes the least time: best of five calls each, after one to warm up."""
    if len(ways) == 1:
        return ways[0]
    times = []
    for way in ways:
        time.sleep(SETTLE)
        way()
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            way()
            best = min(best, time.perf_counter() - start)
        times.append(best)
    return ways[times.index(min(times))]


def _way(function):
    """An op with one way: ``function(torch, a)``, where ``a`` is the op's arguments by name, arrays as tensors."""

    def build(torch, a):
        inputs = [value for value in a.values() if getattr(value, "requires_grad", False)]
        return [Way(lambda: function(torch, a), inputs)]

    return build


def _cell(module_name):
    """nn.RNNCell, nn.LSTMCell or nn.GRUCell: one step."""

    def build(torch, a):
        states = [a[name] for name in ("h0", "c0") if name in a]  # (B, H) each
        module = getattr(torch.nn, module_name)(a["x"].shape[-1], a["W_hh"].shape[1])
        _copy_weights(torch, module, a)

        def forward():
            if len(states) == 2:
                return module(a["x"], tuple(states))[0]
            return module(a["x"], states[0])

        return [Way(forward, [a["x"], *states, *module.parameters()])]

    return build


def _recurrent(module_name):
    """nn.RNN, nn.LSTM or nn.GRU over a whole sequence, time first and batch first."""

    def build(torch, a):
        states = [a[name] for name in ("h0", "c0") if name in a]  # (B, H) each
        ways = []
        for batch_first in (False, True):
            module = getattr(torch.nn, module_name)(a["x"].shape[-1], a["W_hh"].shape[1], batch_first=batch_first)
            _copy_weights(torch, module, a)
            x = a["x"].detach()  # (T, B, D)
            x = (x.transpose(0, 1) if batch_first else x).clone(memory_format=torch.contiguous_format).requires_grad_()

            def forward(module=module, x=x):
                state = tuple(state[None] for state in states)  # (1, B, H) each
                return module(x, state if len(state) == 2 else state[0])[0]

            ways.append(Way(forward, [x, *states, *module.parameters()], int(batch_first)))
        return ways

    return build


def _copy_weights(torch, module, a):
    with torch.no_grad():
        for parameter, name in zip(module.parameters(), ("W_ih", "W_hh", "b_ih", "b_hh"), strict=True):
            parameter.copy_(a[name])


def _attention(torch, a):
    """scaled_dot_product_attention, on heads that are moved before time as it wants them; views first, then copies."""
    inputs = [a[name] for name in ("query", "key", "value")]  # (B, T, H, K) each
    options = {"dropout_p": a.get("dropout", 0.0), "is_causal": a["causal"], "scale": a.get("scale")}

    def views():
        heads = [x.transpose(1, 2) for x in inputs]
        return torch.nn.functional.scaled_dot_product_attention(*heads, **options).transpose(1, 2)

    def copies():
        heads = [x.transpose(1, 2).contiguous() for x in inputs]
        return torch.nn.functional.scaled_dot_product_attention(*heads, **options).transpose(1, 2)

    return [Way(views, inputs), Way(copies, inputs)]


def _additive_attention(torch, a):
    scores = torch.tanh(a["query"][:, :, None] + a["key"][:, None]) @ a["v"]  # (B, Tq, Tk)
    return torch.softmax(scores, -1) @ a["value"]


def _rotary(torch, a):
    """As transformers turns queries and keys: tables of whole heads, and a head's halves exchanged."""
    x, T = a["x"], a["x"].shape[1]
    cos, sin = (torch.cat([table[:T], table[:T]], -1)[:, None] for table in (a["cos"], a["sin"]))  # (T, 1, K)
    first, second = x.chunk(2, -1)  # (B, T, H, K/2) each
    return x * cos + torch.cat([-second, first], -1) * sin


OPS: dict[str, Callable] = {
    "attention": _attention,
    "additive_attention": _way(_additive_attention),
    "linear": _way(lambda torch, a: torch.nn.functional.linear(a["x"], a["W"], a["b"])),
    "embedding": _way(lambda torch, a: torch.nn.functional.embedding(a["ids"], a["W"])),
    "sigmoid": _way(lambda torch, a: torch.sigmoid(a["x"])),
    "tanh": _way(lambda torch, a: torch.tanh(a["x"])),
    "relu": _way(lambda torch, a: torch.relu(a["x"])),
    "silu": _way(lambda torch, a: torch.nn.functional.silu(a["x"])),
    "swiglu": _way(lambda torch, a: torch.nn.functional.silu(a["a"]) * a["b"]),
    "geglu": _way(lambda torch, a: torch.nn.functional.gelu(a["a"], approximate="tanh") * a["b"]),
    "rms_norm": _way(lambda torch, a: torch.nn.functional.rms_norm(a["x"], a["gamma"].shape, a["gamma"], 1e-6)),
    "rotary": _way(_rotary),
    "gelu_erf": _way(lambda torch, a: torch.nn.functional.gelu(a["x"])),
    "gelu_tanh": _way(lambda torch, a: torch.nn.functional.gelu(a["x"], approximate="tanh")),
    "softmax": _way(lambda torch, a: torch.softmax(a["x"], -1)),
    "log_softmax": _way(lambda torch, a: torch.log_softmax(a["x"], -1)),
    "cross_entropy": _way(lambda torch, a: torch.nn.functional.cross_entropy(a["logits"], a["targets"])),
    "dropout": _way(lambda torch, a: torch.nn.functional.dropout(a["x"], a["p"], training=True)),
    "layer_norm": _way(lambda torch, a: torch.layer_norm(a["x"], a["gamma"].shape, a["gamma"], a["beta"])),
    "rnn": _recurrent("RNN"),
    "lstm": _recurrent("LSTM"),
    "gru": _recurrent("GRU"),
    "rnn_cell": _cell("RNNCell"),
    "lstm_cell": _cell("LSTMCell"),
    "gru_cell": _cell("GRUCell"),
}
RANDOM = {"dropout", "philox", "sampling"}  # masks and bits differ between libraries: nothing to compare


def _adam(torch, a):
    kind = torch.optim.AdamW if a["decoupled"] else torch.optim.Adam
    betas = (a["beta1"], a["beta2"])
    a["param"].grad = a["grad"]
    adam = kind([a["param"]], lr=a["lr"], betas=betas, eps=a["eps"], weight_decay=a["weight_decay"], fused=True)
    adam.state[a["param"]] = {"step": torch.tensor(a["step"] - 1.0), "exp_avg": a["m"], "exp_avg_sq": a["v"]}
    return adam.step, [a["param"], a["m"], a["v"]]


def _sgd(torch, a):
    a["param"].grad = a["grad"]
    rule = {"momentum": a["momentum"], "dampening": a["dampening"], "nesterov": a["nesterov"]}
    sgd = torch.optim.SGD([a["param"]], lr=a["lr"], weight_decay=a["weight_decay"], fused=True, **rule)
    sgd.state[a["param"]] = {"momentum_buffer": a["momentum_buffer"]}
    return sgd.step, [a["param"], a["momentum_buffer"]]


def _norm(torch, a):
    return (lambda: torch.linalg.vector_norm(a["grad"])), None


def _bits(torch, a):
    bits = torch.empty(a["shape"], dtype=torch.int32)
    return bits.random_, None


def _sampled(torch, a):
    """As Hugging Face's generate: the k-th largest logit, then a sort and its sums, then the draw."""

    def run():
        x = a["logits"] / a["temperature"]
        if a.get("top_k"):
            x = x.masked_fill(x < torch.topk(x, a["top_k"]).values[:, -1:], -torch.inf)
        if a.get("top_p"):
            rising, order = x.sort(dim=-1)
            beyond = torch.softmax(rising, -1).cumsum(-1) <= 1 - a["top_p"]
            x = x.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), -torch.inf)
        return torch.multinomial(torch.softmax(x, -1), 1)[:, 0]

    return run, None


# Ops without a gradient: ``(torch, a) -> (run, what it writes; None: what it returns is its result)``
STEPS: dict[str, Callable] = {"adam": _adam, "sgd": _sgd, "clip": _norm, "philox": _bits, "sampling": _sampled}
