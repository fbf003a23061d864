"""What `python -m benchmarks gpu` times, in order of worth, so that whatever a limit of time cuts off was worth less.

1. ``check``: every op once on the GPU, its results compared with the oracle's;
2. one case of each op, its largest, against the rate of a copy and of products;
3. training steps of GPT-2's 124 million parameters in tf32 and bf16, plain and as a CUDA graph, beside PyTorch;
4. recurrent layers beside cuDNN;
5. decoding;
6. nanoGPT's run of three minutes on tinyshakespeare;
7. every version of every kernel at the sizes of the CPU's table.

minilm's own contestant is the version that it chooses; "version 1" and so on are the plainer ones.
"""

from __future__ import annotations

import contextlib
import functools
import itertools

import numpy as np

from benchmarks import cases_gpu_models, cases_ops, peer_ops
from benchmarks.case import Case
from benchmarks.gpu import contestant, give_back_memory, on_our_stream, torch_on_gpu
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import devices, ops
from minilm.ops.cuda import at_version

DENSE = [  # recurrent layers beside cuDNN: (B, T, D, H)
    ("lstm", (16, 1024, 768, 768)),
    ("lstm", (64, 128, 512, 512)),
    ("gru", (64, 128, 512, 512)),
]
ATTENTION = [  # (B, T, H, K) and dropout, causal
    (8, 1024, 12, 64, 0.0),
    (4, 4096, 12, 64, 0.0),
    (8, 1024, 6, 128, 0.0),
    (64, 256, 6, 64, 0.2),
]
BALANCE = 10.0  # operations a byte below which a kernel is bound by the memory of any GPU
COPY = 0.85  # of a copy's rate that a kernel bound by memory should reach
SLOW = 5e10  # operations that the CPU's kernels are timed at, at most


def cases(quick: bool = False) -> list[Case]:
    """All, in order of worth; `quick` shrinks every size to what a test can afford."""
    registry = ops.registry()
    rows = [row for row in cases_ops.ROWS if row.op in registry]
    largest = {row.op: row for row in sorted(rows, key=lambda row: float(registry[row.op].flops(row.dims)))}
    others = [cases_ops.Row(name, {d: max(sizes) for d, sizes in op.dims.items()}) for name, op in registry.items()]
    largest = {row.op: row for row in others} | largest
    every = [
        *(check_case(op, quick) for op in registry.values()),
        *(op_case(registry[name], row, quick) for name, row in largest.items()),
        *(cases_gpu_models.step_case(*step, quick) for step in cases_gpu_models.STEPS),
        *dense_cases(quick),
        *(cases_gpu_models.decoding_case(batch, quick) for batch in cases_gpu_models.TEXTS),
        cases_gpu_models.nano_case(quick),
        *attention_cases(quick),
        *(op_case(registry[row.op], row, quick) for row in rows),
    ]
    first: dict[str, Case] = {}
    for case in every:
        first.setdefault(case.name, case)  # shrunk rows may coincide, and a row may be an op's largest
    return list(first.values())


# --- ops ----------------------------------------------------------------------------------------------------------------


def check_case(op, quick: bool) -> Case:
    """An op of some size other than the tiny one, by the GPU's kernel and by the oracle: a wrong result is an error."""
    dims = op.tiny() if quick else {letter: sorted(sizes)[len(sizes) // 2] for letter, sizes in op.dims.items()}

    def build(peers: Peers) -> list[Contestant]:
        drawn = op.draw(np.random.default_rng(0), np.float32, dims)
        package = devices.load(*op.package.rsplit(".", 1))

        def run(implementation):
            arguments = {k: v.copy() if k in op.updates and v is not None else v for k, v in drawn.arguments.items()}
            if implementation == "gpu":
                arguments = devices.to_device(arguments)
            with devices.implementation(implementation):
                returned = getattr(package, op.forward)(**arguments)
                if op.updates:
                    return devices.to_host([arguments[name] for name in op.updates if name != "grad"])
                if not op.backward:
                    return devices.to_host(returned)
                y, saved = returned
                dy = cases_ops.cotangent_of(devices.to_host(y), np.random.default_rng(1))
                if implementation == "gpu" and not (isinstance(dy, np.ndarray) and dy.ndim == 0):
                    dy = devices.to_device(dy)
                return devices.to_host((y, getattr(package, op.backward)(dy, saved)))

        arrays = None if op.name == "philox" else lambda output: cases_ops.flat(output)
        return [
            Contestant("minilm", functools.partial(run, "gpu"), arrays, rounds=1),
            Contestant("oracle", functools.partial(run, "oracle"), arrays, rounds=1),
        ]

    sizes = " ".join(f"{letter} {size:,}" for letter, size in dims.items())
    return Case(f"check {op.name} {sizes}", "gpu", op.name, build, rounds=1)


def op_case(op, row, quick: bool, precision: str = "float32") -> Case:
    """Forward and backward of an op."""
    dims = {letter: min(size, 5) if quick else size for letter, size in row.dims.items()}
    name = cases_ops.name_of(op, row, dims)
    flops = cases_ops.share_seen(dims, row.options) * op.flops(dims)
    if precision != "float32" and op.name == "attention":  # its products alone: its exponentials are no products
        per_score = 2 * (4 * dims["K"] + 3 * dims["Kv"])
        flops = cases_ops.share_seen(dims, row.options) * dims["B"] * dims["H"] * dims["Tq"] * dims["Tk"] * per_score
    by_copy = row.target is None and flops < BALANCE * op.bytes(dims, 4)
    return Case(
        name=f"gpu {name}" if precision == "float32" else f"gpu {name}, {precision}",
        suite="gpu",
        subject=op.name,
        build=functools.partial(op_contestants, op, dims, row, precision, quick),
        flops=flops,
        moved=op.bytes(dims, 4),
        tokens=dims.get("T", 0),
        target=COPY if by_copy else row.target,
        against="roof" if by_copy else "torch",
        precision=precision,
    )


def attention_cases(quick: bool) -> list[Case]:
    """On tensor cores."""
    op, all_cases = ops.registry()["attention"], []
    for (B, T, H, K, dropout), precision in itertools.product(ATTENTION, ("tf32", "bf16")):
        sizes = {"B": B, "Tq": T, "Tk": T, "H": H, "K": K, "Kv": K}
        dims, options = {letter: sizes.get(letter, H) for letter in op.dims}, {"sees": "causal"}
        row = cases_ops.Row("attention", dims, {**options, "dropout": dropout} if dropout else options, target=1.0)
        all_cases.append(op_case(op, row, quick, precision))
    return all_cases


def dense_cases(quick: bool) -> list[Case]:
    """Recurrent layers in the precisions of cuDNN: for tf32 its whole layer has it, here the products outside of the loop."""
    registry = ops.registry()
    return [
        op_case(registry[name], cases_ops.Row(name, dict(zip("BTDH", shape, strict=True)), target=0.8), quick, precision)
        for name, shape in DENSE
        for precision in ("float32", "tf32", "bf16")
    ]


def op_contestants(op, dims, row, precision: str, quick: bool, peers: Peers) -> list[Contestant]:
    """Forward and backward by every version, by the CPU's kernels, and by torch."""
    from minilm.ops.cuda import products

    give_back_memory()
    drawn = op.draw(np.random.default_rng(0), np.float32, dims, **row.options)
    drawn = drawn._replace(arguments={**drawn.arguments, **row.arguments})
    package = devices.load(*op.package.rsplit(".", 1))
    forward, backward = getattr(package, op.forward), getattr(package, op.backward) if op.backward else None
    dy = None
    if backward:
        y = forward(**drawn.arguments)
        dy = cases_ops.cotangent_of(y[0], np.random.default_rng(1))
    on_device, dy_on_device = devices.to_device((drawn.arguments, dy))

    module = devices.load(op.package, "gpu")
    versions = getattr(module, "VERSIONS", {})
    last = max(versions.values(), default=1)
    if precision == "float32" and last == getattr(module, "TENSOR_CORES", None):
        last -= 1  # there is no other

    def on_gpu(version=None):
        def run():
            chosen = at_version(module, version) if version else contextlib.nullcontext()
            with devices.ids_are_checked(), devices.implementation("gpu"), products.precision(precision), chosen:
                returned = forward(**on_device)
                return backward(dy_on_device, returned[1]) if backward else returned

        return run

    def on_host():
        returned = forward(**drawn.arguments)
        return backward(dy, returned[1]) if backward else returned

    contestants = [contestant("minilm", on_gpu(), quick)]
    chooses = hasattr(module, "choose_version")  # and does not run the last version, but the fastest that fits
    contestants += [contestant(f"version {number}", on_gpu(number), quick, rounds=2) for number in range(1, last + chooses)]
    if precision == "float32" and op.flops(dims) <= SLOW:
        contestants.append(contestant("cpu", on_host, quick, host=True, rounds=2))
    if (torch := torch_on_gpu(peers)) is not None and op.name in (*peer_ops.OPS, *peer_ops.STEPS):
        contestants.append(contestant("torch", torch_op(torch, op, drawn, dy, precision=precision), quick))
    return contestants


def torch_op(torch, op, drawn, dy, device: str = "cuda", precision: str = "float32"):
    """The peer's forward and backward, by the first of its ways; KeyError where it has no such op. For bf16 its arrays are
    of that type, where minilm's are float32 and rounded as they are read."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"  # cuDNN's default is True
    kind = torch.bfloat16 if precision == "bf16" else None
    with torch.device(device):  # where the peer's modules are made
        tensors = {}
        for name, value in drawn.arguments.items():
            tensors[name] = torch.from_numpy(value.copy()).to(device) if isinstance(value, np.ndarray) else value
            if name in drawn.differentiable:
                tensors[name] = tensors[name].to(kind).requires_grad_()
        if op.backward is None:
            step, _ = peer_ops.STEPS[op.name](torch, tensors)
        else:
            way = peer_ops.OPS[op.name](torch, tensors)[0]
            first = dy[0] if isinstance(dy, tuple) else dy
            gradient = torch.from_numpy(np.ascontiguousarray(np.swapaxes(first, 0, 1)) if way.time_axis else first).to(
                device, kind
            )

            def step():
                return torch.autograd.grad(way.forward(), way.inputs, gradient)

    def run():
        with on_our_stream(torch, device):
            return step()

    return run
