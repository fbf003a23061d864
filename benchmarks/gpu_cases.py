"""What `python -m benchmarks gpu` times: ops by every version, recurrent layers against cuDNN, training and decoding of GPTs."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from benchmarks import cases_ops, peers
from minilm import devices, generation, models, ops, optimizers
from minilm.ops.cuda import at_version
from minilm.random import Key

GPT2 = {"vocab_size": 50_257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
NANO = {"vocab_size": 65, "n_positions": 256, "n_embd": 384, "n_layer": 6, "n_head": 6}
ATTENTION = [  # by precision: (B, T, H, K) and dropout, causal
    (8, 1024, 12, 64, 0.0),
    (4, 4096, 12, 64, 0.0),
    (8, 1024, 6, 128, 0.0),
    (64, 256, 6, 64, 0.2),
]
TINY = {"vocab_size": 11, "n_positions": 8, "n_embd": 12, "n_layer": 1, "n_head": 2}
STEPS = [("GPT-2 124M", GPT2, 8, "tf32", 1.0), ("GPT-2 124M", GPT2, 8, "bf16", 1.0), ("GPT 6 x 384", NANO, 64, "tf32", None)]
PROMPT, TOKENS = 32, 64  # read, and written after it, by a decoding case
TEXTS = (1, 16)  # side by side


@dataclasses.dataclass
class Case:
    """One computation at one size: ``contestants(torch)`` gives (where, function) by name, minilm's last version as "gpu"."""

    name: str
    subject: str
    contestants: Callable
    flops: float = 0
    moved: float = 0
    precision: str = "float32"
    target: float | None = None


def torch_on_gpu():
    """torch, if it is installed and sees the GPU."""
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def cases(quick: bool = False) -> list[Case]:
    """Every op, then models; `quick` shrinks every size to what a test can afford."""
    registry = ops.registry()
    rows = [row for row in cases_ops.ROWS if row.op in registry]
    wide = [{"B": 64, "T": 128, "D": H, "H": H} for H in (128, 256, 512, 1024)]  # weights over several multiprocessors
    rows += [cases_ops.Row(op, dims, target=0.8 if dims["H"] == 512 else None) for op in ("lstm", "gru") for dims in wide]
    named = {row.op for row in rows}
    rows += [cases_ops.Row(n, {d: max(sizes) for d, sizes in op.dims.items()}) for n, op in registry.items() if n not in named]
    all_cases = [_op_case(registry[row.op], row, quick) for row in rows]
    # cuDNN's whole LSTM is in tf32 then, here the products outside of the time loop
    all_cases += [_op_case(registry[op], cases_ops.Row(op, wide[2]), quick, "tf32") for op in ("lstm", "gru")]
    for (B, T, H, K, dropout), precision in itertools.product(ATTENTION, ("tf32", "bf16")):
        dims, options = dict(zip(registry["attention"].dims, (B, T, T, H, K, K), strict=True)), {"sees": "causal"}
        row = cases_ops.Row("attention", dims, {**options, "dropout": dropout} if dropout else options, target=1.0)
        all_cases.append(_op_case(registry["attention"], row, quick, precision))
    for title, sizes, batch, precision, target in STEPS:
        if quick:
            sizes, batch = TINY, 2
        all_cases.append(_step_case(title, models.GPTConfig(**sizes), batch, precision, target))
    for batch in TEXTS:
        config = models.GPTConfig(**({**TINY, "n_positions": 16} if quick else GPT2))
        all_cases.append(_decoding_case("GPT-2 124M", config, batch, *((4, 5) if quick else (PROMPT, TOKENS))))
    return list({case.name: case for case in all_cases}.values())  # shrunk rows may coincide


def _op_case(op, row, quick: bool, precision: str = "float32") -> Case:
    dims = {letter: min(size, 5) if quick else size for letter, size in row.dims.items()}
    settings = [name if value is True else f"{name}={value}" for name, value in row.options.items()]
    name = " ".join([op.name, *settings, *(f"{letter} {size:,}" for letter, size in dims.items())])
    if precision == "float32":
        return Case(name, op.name, lambda torch: _op(op, dims, row, torch), op.flops(dims), op.bytes(dims, 4), target=row.target)
    flops = op.flops(dims)
    if (
        op.name == "attention"
    ):  # causal: its products alone, and of the weights those that are seen, as a share of the matmul rate
        flops = dims["B"] * dims["H"] * dims["Tq"] * dims["Tk"] * (4 * dims["K"] + 3 * dims["Kv"])
    return Case(
        f"{name}, {precision}",
        op.name,
        lambda torch: _op(op, dims, row, torch, precision),
        flops,
        op.bytes(dims, 4),
        precision,
        row.target,
    )


def _op(op, dims, row, torch, precision: str = "float32") -> dict:
    """Forward and backward by every version, by the CPU's kernels, and by torch."""
    from minilm.ops.cuda import products

    drawn = op.draw(np.random.default_rng(0), np.float32, dims, **row.options)
    drawn = drawn._replace(arguments={**drawn.arguments, **row.arguments})
    package = devices.load(*op.package.rsplit(".", 1))
    forward, backward = getattr(package, op.forward), getattr(package, op.backward) if op.backward else None
    y = forward(**drawn.arguments)
    dy = cases_ops.cotangent_of(y[0], np.random.default_rng(1)) if backward else None
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

    chooses = hasattr(module, "choose_version")  # and does not run the last version, but the fastest that fits
    contestants = {f"version {number}": ("gpu", on_gpu(number)) for number in range(1, last + chooses)}
    contestants["gpu"] = ("gpu", on_gpu())
    contestants["cpu"] = ("cpu", on_host)
    if torch is not None:
        with contextlib.suppress(KeyError):
            contestants["torch"] = ("gpu", torch_op(torch, op, drawn, dy, precision=precision))
    return contestants


def _on_our_stream(torch, device: str):
    """CuPy's stream as torch's, so that its events see what torch does; nothing to do on a CPU."""
    if device == "cpu":
        return contextlib.nullcontext()
    import cupy

    return torch.cuda.stream(torch.cuda.ExternalStream(cupy.cuda.get_current_stream().ptr))


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
            step, _ = peers.STEPS[op.name](torch, tensors)
        else:
            way = peers.OPS[op.name](torch, tensors)[0]
            first = dy[0] if isinstance(dy, tuple) else dy
            gradient = torch.from_numpy(np.ascontiguousarray(np.swapaxes(first, 0, 1)) if way.time_axis else first).to(
                device, kind
            )

            def step():
                return torch.autograd.grad(way.forward(), way.inputs, gradient)

    def run():
        with _on_our_stream(torch, device):
            return step()

    return run


def _step_case(title: str, config, batch: int, precision: str, target) -> Case:
    tokens = batch * config.n_positions
    inside = config.n_layer * 12 * config.n_embd**2 + config.vocab_size * config.n_embd  # weights that take part in products
    scores = config.n_layer * 2 * config.n_embd * config.n_positions
    flops = 6 * tokens * (inside + scores / 2)
    name = f"{title} training step, B {batch} T {config.n_positions:,}, {precision}"
    return Case(name, "gpt", lambda torch: _step(config, batch, precision, torch), flops, 0, precision, target)


def _step(config, batch: int, precision: str, torch) -> dict:
    from minilm.ops.cuda import products

    rng = np.random.default_rng(0)
    ids, targets = rng.integers(0, config.vocab_size, (2, batch, config.n_positions))
    model = models.GPT(config, seed=0)
    weights = model.parameters.state_dict()
    model.to("cuda")
    adam = optimizers.AdamW(model.parameters, lr=3e-4, weight_decay=0.1, decay="matrices", clip_norm=1.0)
    inputs, labels = devices.to_device((ids, targets))
    count = 0

    def step():
        nonlocal count
        count += 1
        with devices.ids_are_checked(), products.precision(precision):
            _, saved = model.forward(inputs, labels, key=Key(0, count))
            model.backward(saved)
            adam.step()

    contestants = {"gpu": ("gpu", step), "gpu graph": ("gpu", _graphed_step(model, adam, (inputs, labels), precision))}
    if torch is not None:
        eager = torch_step(torch, config, weights, ids, targets, precision)
        contestants["torch"] = ("gpu", eager)
        contestants["torch compiled"] = ("gpu", torch_step(torch, config, weights, ids, targets, precision, compiled=True))
    return contestants


def _graphed_step(model, adam, batch, precision: str):
    """The same step as one CUDA graph, as `minilm train --set cuda_graphs=true` launches it."""
    import cupy

    from minilm.ops.cuda import products
    from minilm.training.device import GraphedStep

    graphed, stream = GraphedStep(model, adam), cupy.cuda.Stream(non_blocking=True)
    count = 0

    def step():
        nonlocal count
        count += 1
        before = cupy.cuda.get_current_stream()
        stream.wait_event(before.record())
        with stream, devices.ids_are_checked(), products.precision(precision):
            graphed(batch, None, [Key(0, count)], np.ones((1, 1)), 3e-4)
        before.wait_event(stream.record())

    return step


def torch_step(torch, config, weights, ids, targets, precision: str, compiled: bool = False, device: str = "cuda"):
    """A training step of the peer's GPT."""
    from benchmarks import peer_transformers

    torch.backends.cuda.matmul.allow_tf32 = precision != "float32"
    model = peer_transformers.gpt(torch, config, weights).to(device)
    adam = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, fused=True)
    inputs, labels = torch.from_numpy(ids).to(device), torch.from_numpy(targets).to(device)
    call = torch.compile(model) if compiled else model

    def step():
        with _on_our_stream(torch, device):
            adam.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                loss = torch.nn.functional.cross_entropy(call(inputs).flatten(0, 1), labels.flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()

    return step


def _decoding_case(title: str, config, batch: int, prompt: int, tokens: int) -> Case:
    """Whole texts, the reading of the prompt and of the ids among it; every weight is read once a token."""
    cached = 2 * config.n_layer * config.n_embd * batch * (prompt + tokens / 2)
    name = f"{title} decoding, B {batch}, {tokens} tokens after {prompt}, float32"
    return Case(
        name,
        "gpt",
        lambda torch: _decoding(config, batch, prompt, tokens, torch),
        0,
        4 * tokens * (config.parameter_count + cached),
    )


def _decoding(config, batch: int, prompt: int, tokens: int, torch) -> dict:
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (batch, prompt))  # (B, T)
    on_host, on_device = models.GPT(config, seed=0), models.GPT(config, seed=0).to("cuda")

    def writer(model, **options):
        return lambda: list(generation.stream_ids(model, ids, tokens, greedy=True, **options))

    contestants = {"gpu": ("cpu", writer(on_device)), "cpu": ("cpu", writer(on_host))}  # whose end the host sees: its own clock
    contestants["gpu graph"] = ("cpu", writer(on_device, cuda_graphs=True))
    if torch is not None:
        from benchmarks import peer_transformers

        contestants["torch"] = (
            "cpu",
            peer_transformers.decoder(torch, config, on_host.parameters.state_dict(), ids, tokens, "cuda"),
        )
    return contestants
