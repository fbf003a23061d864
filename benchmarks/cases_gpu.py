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
import os
import tempfile

import numpy as np

from benchmarks import cases_ops, peer_ops, peer_transformers
from benchmarks.case import Case, Unavailable
from benchmarks.gpu import contestant, give_back_memory, torch_on_gpu
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import devices, generation, models, ops, optimizers
from minilm.ops.cuda import at_version
from minilm.random import Key

GPT2 = {"vocab_size": 50_257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
NANO = {"vocab_size": 65, "n_positions": 256, "n_embd": 384, "n_layer": 6, "n_head": 6}
TINY = {"vocab_size": 11, "n_positions": 8, "n_embd": 12, "n_layer": 1, "n_head": 2}
STEPS = [  # title, sizes, B, precision, target
    ("GPT-2 124M", GPT2, 8, "tf32", 1.0),
    ("GPT-2 124M", GPT2, 8, "bf16", 1.0),
    ("GPT 6 x 384", NANO, 64, "tf32", None),
]
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
PROMPT, TOKENS = 32, 64  # read, and written after it, by a decoding case
TEXTS = (1, 16)  # side by side
PUBLISHED = 1.4697  # nats a character: nanoGPT's on an A100, in about three minutes
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
        *(step_case(*step, quick) for step in STEPS),
        *dense_cases(quick),
        *(decoding_case(batch, quick) for batch in TEXTS),
        nano_case(quick),
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
    return Case(
        name=f"gpu {name}" if precision == "float32" else f"gpu {name}, {precision}",
        suite="gpu",
        subject=op.name,
        build=functools.partial(op_contestants, op, dims, row, precision, quick),
        flops=flops,
        moved=op.bytes(dims, 4),
        tokens=dims.get("T", 0),
        target=row.target,
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
        with _on_our_stream(torch, device):
            return step()

    return run


# --- training and decoding ----------------------------------------------------------------------------------------------


def step_case(title: str, sizes: dict, batch: int, precision: str, target: float | None, quick: bool) -> Case:
    """A whole training step of a GPT."""
    config, batch = models.GPTConfig(**(TINY if quick else sizes)), 2 if quick else batch
    tokens = batch * config.n_positions
    inside = config.n_layer * 12 * config.n_embd**2 + config.vocab_size * config.n_embd  # weights that take part in products
    scores = config.n_layer * 2 * config.n_embd * config.n_positions
    return Case(
        name=f"{title} training step, B {batch} T {config.n_positions:,}, {precision}",
        suite="gpu",
        subject="gpt",
        build=functools.partial(step_contestants, config, batch, precision, quick),
        flops=6 * tokens * (inside + scores / 2),
        tokens=tokens,
        target=target,
        precision=precision,
    )


def step_contestants(config, batch: int, precision: str, quick: bool, peers: Peers) -> list[Contestant]:
    """minilm's step as it is launched and as a CUDA graph; PyTorch's eager and compiled."""
    from minilm.ops.cuda import products

    give_back_memory()
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

    contestants = [contestant("minilm", step, quick)]
    contestants.append(contestant("graph", _graphed_step(model, adam, (inputs, labels), precision), quick))
    if (torch := torch_on_gpu(peers)) is not None:
        contestants.append(contestant("torch", torch_step(torch, config, weights, ids, targets, precision), quick))
        if peers.get("torch-compile") is not None:
            compiled = torch_step(torch, config, weights, ids, targets, precision, compiled=True)
            contestants.append(contestant("torch-compile", compiled, quick))
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


def decoding_case(batch: int, quick: bool) -> Case:
    """Whole texts, the reading of the prompt and of the ids among it; every weight is read once a token."""
    config = models.GPTConfig(**({**TINY, "n_positions": 16} if quick else GPT2))
    prompt, tokens = (4, 5) if quick else (PROMPT, TOKENS)
    cached = 2 * config.n_layer * config.n_embd * batch * (prompt + tokens / 2)
    return Case(
        name=f"GPT-2 124M decoding, B {batch}, {tokens} tokens after {prompt}, float32",
        suite="gpu",
        subject="gpt",
        build=functools.partial(decoding_contestants, config, batch, prompt, tokens, quick),
        moved=4 * tokens * (config.parameter_count + cached),
        tokens=batch * tokens,
        target=1.5,
        against="torch",
    )


def decoding_contestants(config, batch: int, prompt: int, tokens: int, quick: bool, peers: Peers) -> list[Contestant]:
    """By the host's clock, which sees when a text ends."""
    give_back_memory()
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (batch, prompt))  # (B, T)
    on_host, on_device = models.GPT(config, seed=0), models.GPT(config, seed=0).to("cuda")

    def writer(model, **options):
        return lambda: list(generation.stream_ids(model, ids, tokens, greedy=True, **options))

    contestants = [
        contestant("minilm", writer(on_device, cuda_graphs=True), quick, host=True),
        contestant("without graphs", writer(on_device), quick, host=True),
        contestant("cpu", writer(on_host), quick, host=True, rounds=1),
    ]
    if (torch := torch_on_gpu(peers)) is not None:
        run = peer_transformers.decoder(torch, config, on_host.parameters.state_dict(), ids, tokens, "cuda")
        contestants.append(contestant("torch", run, quick, host=True))
    return contestants


def nano_case(quick: bool) -> Case:
    """Three minutes of training; the loss is that of the last tenth of the text, which training does not see."""

    def build(peers: Peers) -> list[Contestant]:
        from benchmarks import corpora

        corpus = "stories" if quick else corpora.path("tinyshakespeare")
        if corpus is None:
            raise Unavailable(corpora.missing("tinyshakespeare"))
        published = Contestant("published", lambda: None, sample=lambda: PUBLISHED, rounds=1)
        return [Contestant("minilm", lambda: None, sample=lambda: nano_loss(corpus, quick), rounds=1), published]

    name = "nanoGPT's three minutes, tinyshakespeare, validation loss"
    return Case(name, "gpu", "nanogpt", build, target=1.0, against="published", unit="nats", rounds=1)


def nano_loss(corpus: str, quick: bool) -> float:
    """Nats a character after training nanoGPT's model: 6 layers, 384 wide, 256 characters, B 64, dropout 0.2."""
    from minilm import training

    give_back_memory()
    dropout = dict.fromkeys(("model.resid_pdrop", "model.embd_pdrop", "model.attn_pdrop"), 0.2)
    sizes = {f"model.{name}": size for name, size in (TINY if quick else NANO).items() if name != "vocab_size"}
    settings = {
        **sizes, **dropout, "batch": 2 if quick else 64, "time": sizes["model.n_positions"], "device": "cuda",
        "precision": "bf16", "cuda_graphs": "true", "sample.tokens": 0, "evaluate_tokens": 100 if quick else 100_000,
        **({"steps": 2} if quick else {"minutes": 3, "optimizer.lr": 1e-3}),
    }  # fmt: skip
    options = {
        "corpus": corpus,
        "model": {"model_type": "gpt"},
        "steps": settings.pop("steps", None),
        "minutes": settings.pop("minutes", None),
    }
    sets = [f"{name}={value}" for name, value in settings.items()]
    config = training.settings.configuration("gpt", sets=sets, options={k: v for k, v in options.items() if v is not None})
    with tempfile.TemporaryDirectory() as folder:
        return float(training.train(config, out=os.path.join(folder, "run")).evaluation.loss)
