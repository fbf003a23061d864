"""The parts of the suite `gpu` that are whole models: training steps, decoding, and nanoGPT's run of three minutes."""

from __future__ import annotations

import functools
import os
import tempfile

import numpy as np

from benchmarks import corpora, peer_transformers
from benchmarks.case import Case, Unavailable
from benchmarks.gpu import contestant, give_back_memory, on_our_stream, torch_on_gpu
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import devices, generation, models, optimizers
from minilm.random import Key

GPT2 = {"vocab_size": 50_257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
NANO = {"vocab_size": 65, "n_positions": 256, "n_embd": 384, "n_layer": 6, "n_head": 6}
TINY = {"vocab_size": 11, "n_positions": 8, "n_embd": 12, "n_layer": 1, "n_head": 2}
STEPS = [  # title, sizes, B, precision, target
    ("GPT-2 124M", GPT2, 8, "tf32", 1.0),
    ("GPT-2 124M", GPT2, 8, "bf16", 1.0),
    ("GPT 6 x 384", NANO, 64, "tf32", None),
]
PROMPT, TOKENS = 32, 64  # read, and written after it, by a decoding case
TEXTS = (1, 16)  # side by side
PUBLISHED = 1.4697  # nats a character: nanoGPT's on an A100, in about three minutes


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
    from minilm.training.graphed_step import GraphedStep

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
    torch.backends.cuda.matmul.allow_tf32 = precision != "float32"
    model = peer_transformers.gpt(torch, config, weights).to(device)
    adam = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, fused=True)
    inputs, labels = torch.from_numpy(ids).to(device), torch.from_numpy(targets).to(device)
    call = torch.compile(model) if compiled else model

    def step():
        with on_our_stream(torch, device):
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
        corpus = None if quick else corpora.path("tinyshakespeare")
        if corpus is None and not quick:
            raise Unavailable(corpora.missing("tinyshakespeare"))
        published = Contestant("published", lambda: None, sample=lambda: PUBLISHED, rounds=1)
        return [Contestant("minilm", lambda: None, sample=lambda: nano_loss(corpus, quick), rounds=1), published]

    name = "nanoGPT's three minutes, tinyshakespeare, validation loss"
    return Case(name, "gpu", "nanogpt", build, target=1.0, against="published", unit="nats", rounds=1)


def nano_loss(corpus: str | None, quick: bool) -> float:
    """Nats a character after training nanoGPT's model: 6 layers, 384 wide, 256 characters, B 64, dropout 0.2."""
    from minilm import training

    give_back_memory()
    dropout = dict.fromkeys(("model.resid_pdrop", "model.embd_pdrop", "model.attn_pdrop"), 0.2)
    sizes = {f"model.{name}": size for name, size in (TINY if quick else NANO).items() if name != "vocab_size"}
    settings = {
        **sizes, **dropout, "batch": 2 if quick else 64, "time": sizes["model.n_positions"], "device": "cuda",
        "precision": "bf16", "cuda_graphs": "true", "sample.tokens": 0, "evaluate_tokens": 100 if quick else 100_000,
        **({} if quick else {"optimizer.lr": 1e-3}),
    }  # fmt: skip
    budget = {"steps": 2} if quick else {"minutes": 3}
    with tempfile.TemporaryDirectory() as folder:
        if quick:
            corpus = os.path.join(folder, "text")
            with open(corpus, "w", encoding="utf-8") as file:
                file.write("The cat sat on the mat. " * 50)
        options = {"corpus": corpus, "model": {"model_type": "gpt"}, **budget}
        sets = [f"{name}={value}" for name, value in settings.items()]
        config = training.settings.configuration("gpt", sets=sets, options=options)
        return float(training.train(config, out=os.path.join(folder, "run")).evaluation.loss)
