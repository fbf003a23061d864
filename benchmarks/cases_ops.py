"""Every op of the registry, forward and backward together, at sizes that matter to language models.

The arguments are the ones the registry draws for the tests; an op without a row below is timed at its largest test size,
so that a new op stands in the table from its first day.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import minilm
from benchmarks import peer_ops
from benchmarks.case import ASIDE, Case
from benchmarks.timing import Contestant
from minilm import devices, ops


class Row(NamedTuple):
    """Sizes of one case."""

    op: str
    dims: dict[str, int]
    options: dict = {}  # of the op's drawing
    arguments: dict = {}  # arguments that replace drawn ones
    target: float | None = None


def _rows(op: str, letters: Sequence[str], *sizes: tuple[int, ...], **more) -> list[Row]:
    return [Row(op, dict(zip(letters, numbers, strict=True)), **more) for numbers in sizes]


ACTIVATIONS = ("sigmoid", "tanh", "relu", "silu", "gelu_erf", "gelu_tanh", "swiglu", "geglu")
VOCABULARIES = ((2048, 65), (1024, 10_000), (256, 50_257))  # (N, V): characters, words, GPT-2's byte pairs
RECURRENT = ((32, 64, 256, 256), (64, 128, 512, 512), (16, 35, 192, 192))  # (B, T, D, H)
HEADS = (
    (12, 64, 64, 4, 32, 32),
    (4, 256, 256, 6, 64, 64),
    (4, 1024, 1024, 6, 64, 64),
)  # (B, Tq, Tk, H, K, Kv): small GPTs, and long
PLAIN = {"scale": 1.0, "weight_decay": 0.0}  # what clipping and decay add has no counterpart in the peer's kernel
BUFFERS = ((400_000,), (10_000_000,))  # parameters of a character model, of a word model
SLOW = 3e8  # operations that a plain version of a kernel is given to do, about a third of a second: larger cases go without it

ROWS = [
    *_rows("linear", "NIO", (256, 256, 256), (2048, 256, 1024), (2048, 256, 65), (700, 650, 10_000)),
    *_rows("linear", "NIO", (256, 768, 3072), (1024, 384, 1536), (1024, 1024, 1024), target=1.0),
    *_rows("embedding", "NVD", (2048, 65, 64), (700, 10_000, 650), (256, 50_257, 768)),
    *(row for op in ACTIVATIONS for row in _rows(op, "N", (2048 * 1024,))),
    *(row for op in ("softmax", "log_softmax") for row in _rows(op, "NV", *VOCABULARIES)),
    *_rows("cross_entropy", "NV", VOCABULARIES[0]),
    *_rows("cross_entropy", "NV", VOCABULARIES[1], target=5.0),
    *_rows("cross_entropy", "NV", VOCABULARIES[2]),
    *_rows("dropout", "NTD", (32, 64, 256), arguments={"p": 0.1}),
    *_rows("layer_norm", "ND", (2048, 256), (2048, 768)),
    *_rows("residual_layer_norm", "ND", (2048, 256), (2048, 768)),
    *_rows("rms_norm", "ND", (2048, 256), (2048, 768)),
    *_rows("rotary", ("B", "T", "H", "R/2"), (4, 256, 6, 32), (4, 1024, 12, 32)),
    *_rows("lstm", "BTDH", (16, 32, 64, 64)),
    *(row for op in ("rnn", "lstm", "gru") for row in _rows(op, "BTDH", *RECURRENT)),
    *(row for op in ("rnn_cell", "lstm_cell", "gru_cell") for row in _rows(op, "BDH", (1, 256, 256), (32, 256, 256))),
    *_rows("attention", ("B", "Tq", "Tk", "H", "K", "Kv"), *HEADS, options={"sees": "causal"}, target=1.0),
    *_rows("attention", ("B", "Tq", "Tk", "H", "K", "Kv"), HEADS[-1], target=1.0),
    *_rows("attention", ("B", "Tq", "Tk", "H", "K", "Kv"), HEADS[-1], options={"sees": "causal", "dropout": 0.1}),
    *_rows("attention", ("B", "Tq", "Tk", "H", "K", "Kv"), (1, 1, 1024, 12, 64, 64)),
    *_rows("additive_attention", ("B", "Tq", "Tk", "A", "D"), (32, 20, 20, 256, 256), (64, 1, 30, 512, 512)),
    *_rows("crf", "BTK", (32, 30, 20), (32, 50, 80), options={"padded": True}),
    *_rows("philox", "N", (1_000_000,)),
    *_rows("sampling", "BV", (1, 50_257), (64, 50_257)),
    *_rows("sampling", "BV", (1, 50_257), (64, 50_257), (1, 151_936), options={"limits": "both"}),
    *_rows("sgd", "N", *BUFFERS, arguments=PLAIN),
    *_rows("adam", "N", *BUFFERS, arguments=PLAIN, target=1.0),
    *_rows("adam", "N", *BUFFERS, arguments=PLAIN, options={"decoupled": True}, target=1.0),
    *_rows("clip", "N", *BUFFERS),
]


def cases(quick: bool = False) -> list[Case]:
    """One case a row; an op without a row, at its largest test size. `quick` shrinks every size to what a test can afford."""
    registry = ops.registry()
    rows = [row for row in ROWS if row.op in registry]
    named = {row.op for row in rows}
    rows += [Row(name, {d: max(sizes) for d, sizes in op.dims.items()}) for name, op in registry.items() if name not in named]
    order = list(registry)
    all_cases = [case_of(registry[row.op], row, quick) for row in sorted(rows, key=lambda row: order.index(row.op))]
    return list({case.name: case for case in all_cases}.values())  # shrunk rows may coincide


def case_of(op, row: Row, quick: bool) -> Case:
    """The case of one row."""
    dims = {letter: min(size, 9) if quick else size for letter, size in row.dims.items()}
    seen = share_seen(dims, row.options)
    return Case(
        name=name_of(op, row, dims),
        suite="ops",
        subject=op.name,
        build=lambda peers: contestants(op, dims, row, peers.get("torch")),
        flops=seen * op.flops(dims),
        moved=op.bytes(dims, 4),
        target=row.target,
    )


def name_of(op, row: Row, dims: dict[str, int]) -> str:
    """Op, options and sizes."""
    settings = [name if value is True else f"{name}={value}" for name, value in row.options.items()]
    return " ".join([op.name, *settings, *(f"{letter} {size:,}" for letter, size in dims.items())])


def share_seen(dims: dict[str, int], options: dict) -> float:
    """The share of attention's scores that are needed: with a causal mask query number q sees q + 1 keys, the last all."""
    if options.get("sees") != "causal":
        return 1.0
    queries, keys = dims["Tq"], dims["Tk"]
    return sum(min(keys, max(0, keys - queries + q + 1)) for q in range(queries)) / (queries * keys)


def contestants(op, dims, row, torch) -> list[Contestant]:
    """minilm, the oracle, other versions of minilm's, and torch where it has the op: the same arguments, the same cotangent."""
    rng = np.random.default_rng(0)
    drawn = op.draw(rng, np.float32, dims, **row.options)
    drawn = drawn._replace(arguments={**drawn.arguments, **row.arguments})
    package = importlib.import_module(op.package)
    forward = getattr(package, op.forward)
    if op.backward is None:
        contestants = [step(name, op, forward, drawn) for name in ("minilm", "oracle")]
        if torch is not None and op.name in peer_ops.STEPS:
            contestants.append(peer_step(torch, op, drawn))
        return contestants
    y, _ = forward(**drawn.arguments)
    cotangent = cotangent_of(y, rng)
    backward = getattr(package, op.backward)
    others = devices.versions(op.package)[:-1] if op.flops(dims) <= SLOW else ()
    contestants = [pair(name, forward, backward, drawn, cotangent) for name in ("minilm", "oracle", *others)]
    if torch is not None and op.name in peer_ops.OPS:
        contestants.append(peer_pair(torch, op, drawn, cotangent))
    return contestants


def cotangent_of(y, rng):
    """Random, of y's shape; of several outputs only the first gets one (the sequence of a recurrent op), as in training."""
    if isinstance(y, tuple):
        return (cotangent_of(y[0], rng), *(None for _ in y[1:]))
    return np.asarray(rng.standard_normal(np.shape(y)), np.float32)


def flat(*values) -> list:
    """The arrays among values and tuples of values, in order."""
    arrays = []
    for value in values:
        arrays += flat(*value) if isinstance(value, (tuple, list)) else [] if value is None else [np.asarray(value)]
    return arrays


def under(name, run):
    """`run` by the implementation that the contestant's name stands for."""

    def run_by_name():
        with minilm.implementation(name):
            return run()

    return run if name == "minilm" else run_by_name


def pair(name, forward, backward, drawn, cotangent) -> Contestant:
    """A forward and backward of minilm: the first output and all gradients are what is compared."""
    workspace = minilm.Workspace()

    def run():
        with workspace.step():
            y, saved = forward(**drawn.arguments)
            gradients = backward(cotangent, saved)
        return y[0] if isinstance(y, tuple) else y, gradients

    return Contestant(name, under(name, run), lambda output: flat(*output), rounds=aside(name))


def aside(name: str) -> int | None:
    """Rounds of an implementation: minilm's own takes part in all, those that are there to be read in a few."""
    return None if name == "minilm" else ASIDE


def step(name, op, function, drawn) -> Contestant:
    """An op of minilm without a gradient, on copies of the arguments it writes."""
    workspace = minilm.Workspace()
    arguments = {k: v.copy() if k in op.updates and v is not None else v for k, v in drawn.arguments.items()}

    def run():
        with workspace.step():
            return function(**arguments)

    def arrays(result):
        return flat(*(arguments[k] for k in op.updates if k != "grad")) if op.updates else flat(result)

    return Contestant(name, under(name, run), None if op.name in peer_ops.RANDOM else arrays, rounds=aside(name))


def _tensors(torch, drawn) -> dict:
    """The arguments by name, arrays as tensors of their own."""
    tensors = {}
    for name, value in drawn.arguments.items():
        tensors[name] = torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value
        if name in drawn.differentiable:
            tensors[name].requires_grad_()
    return tensors


def peer_step(torch, op, drawn) -> Contestant:
    """An op without a gradient in torch."""
    run, written = peer_ops.STEPS[op.name](torch, _tensors(torch, drawn))

    def arrays(result):
        return [t.detach().numpy() for t in ([result] if written is None else written)]

    return Contestant("torch", run, None if op.name in peer_ops.RANDOM else arrays)


def peer_pair(torch, op, drawn, cotangent) -> Contestant:
    """A forward and backward in torch, by the quickest of its ways."""
    first = cotangent[0] if isinstance(cotangent, tuple) else cotangent
    runs = []
    for way in peer_ops.OPS[op.name](torch, _tensors(torch, drawn)):
        dy = torch.from_numpy(np.ascontiguousarray(np.swapaxes(first, 0, 1)) if way.time_axis else first)

        def run(way=way, dy=dy):
            y = way.forward()
            return way, y, torch.autograd.grad(y, way.inputs, dy)

        runs.append(run)

    def arrays(output):
        way, y, gradients = output
        arrays = [y.detach().numpy(), *(gradient.numpy() for gradient in gradients)]
        if way.time_axis:
            arrays[:2] = [np.swapaxes(array, 0, 1) for array in arrays[:2]]
        return arrays

    random = op.name in peer_ops.RANDOM or drawn.arguments.get("dropout")
    return Contestant("torch", peer_ops.quickest(runs), None if random else arrays)
