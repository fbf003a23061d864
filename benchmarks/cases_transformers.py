"""Training steps of GPT: forward, backward, clipping, AdamW. Without dropout, so that the first two losses and gradient norms
can be compared with the peers'.

Each stands there in float32 and in bfloat16, which is refused where the processor does not multiply it. llm.c's step is timed by
its own program, which prints the milliseconds of each.
"""

from __future__ import annotations

import functools
import re
import subprocess

import numpy as np

import minilm
from benchmarks import peer_models, peer_transformers, precisions
from benchmarks.case import Case, twice
from benchmarks.cases_ops import aside, under
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import models, optimizers

NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
GPT2 = {"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 64, "vocab_size": 50_257}  # at llm.c's length
STEPS = (  # configuration, B, target
    ({"n_layer": 4, "n_head": 4, "n_embd": 128, "n_positions": 64, "vocab_size": 65}, 12, 1.3),
    ({"n_layer": 6, "n_head": 6, "n_embd": 384, "n_positions": 256, "vocab_size": 65}, 4, 1.2),
    ({"n_layer": 4, "n_head": 4, "n_embd": 128, "n_positions": 64, "vocab_size": 50_257}, 12, 1.7),
    ({"n_layer": 6, "n_head": 6, "n_embd": 384, "n_positions": 256, "vocab_size": 50_257}, 4, 1.7),
    (GPT2, 4, 1.2),
)
TINY = {"n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 6, "vocab_size": 7}


def cases(quick: bool = False) -> list[Case]:
    """All of them in both precisions; `quick` shrinks every size to what a test can afford."""
    steps = [(TINY, 2, None)] if quick else STEPS
    return [
        step_case(models.GPTConfig(**sizes, **NO_DROPOUT), B, target, precision)
        for precision in ("float32", "bf16")
        for sizes, B, target in steps
    ]


def flops(config, B: int) -> int:
    """Multiplications and additions of a step: three products for every weight and row, and those of causal attention."""
    V, D, T, L = config.vocab_size, config.n_embd, config.n_positions, config.n_layer
    return 6 * B * T * (L * 12 * D * D + V * D) + L * 7 * B * T * T * D


def step_case(config, B: int, target: float | None, precision: str) -> Case:
    """One step of training."""
    name = f"gpt B {B} T {config.n_positions} V {config.vocab_size:,} D {config.n_embd} x {config.n_layer}"
    return Case(
        name=name if precision == "float32" else f"{name}, {precision}",
        suite="models",
        subject="gpt",
        build=functools.partial(step_contestants, config, B, precision),
        flops=flops(config, B),
        moved=4 * 9 * config.parameter_count,
        tokens=B * config.n_positions,
        target=target if precision == "float32" else 1.0,
        against="torch" if precision == "float32" else "torch-bf16",
        precision=precision,
    )


def step_contestants(config, B: int, precision: str, peers: Peers, lr=1e-3, clip_norm=1.0, weight_decay=0.1) -> list:
    """The same weights, batches and settings for all."""
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, (8, B, config.n_positions + 1))
    batches = [(np.ascontiguousarray(part[:, :-1]), np.ascontiguousarray(part[:, 1:])) for part in tokens]  # (B, T) each

    def own(name, implementation="minilm", **options):
        run = under(implementation, training_step(config, batches, lr, clip_norm, weight_decay))
        return Contestant(name, run, twice(run), **options)

    weights = models.GPT(config, seed=0).parameters.state_dict()

    def make(torch, prepare):
        return peer_transformers.training_step(torch, config, weights, batches, lr, clip_norm, weight_decay, prepare)

    rivals = peer_models.steps(peers, make, twice)
    if precision == "float32":
        llm_c = [own_clock(peers.get("llm.c"), B, config.n_positions)] if config.n_embd == 768 and peers.get("llm.c") else []
        return [own("minilm"), own("oracle", "oracle", rounds=aside("oracle")), *rivals, *llm_c]
    low = {"around": precisions.context(precision), "tolerance": peer_models.ROUGH}
    return [own("minilm", **low), own("float32"), *(rival for rival in rivals if rival.name in ("torch", "torch-bf16"))]


def own_clock(program: str, B: int, T: int) -> Contestant:
    """llm.c's train_gpt2, run where its weights and tokens lie: the median of the milliseconds that it prints, in seconds."""

    def sample() -> float:
        folder = program.rpartition("/")[0] or "."
        output = subprocess.run([program], cwd=folder, capture_output=True, text=True, timeout=600).stdout
        steps = sorted(float(number) for number in re.findall(r"step \d+: .*took ([\d.]+) ms", output))
        if not steps:
            raise RuntimeError(f"{program} printed no time of a step of B {B} T {T}")
        return steps[len(steps) // 2] / 1e3

    return Contestant("llm.c", lambda: None, sample=sample, rounds=1)


def training_step(config, batches: list, lr: float, clip_norm: float, weight_decay: float):
    """One step of training after another; returns loss and norm of the gradients."""
    model = models.GPT(config, seed=0)
    options = {"weight_decay": weight_decay, "decay": "matrices", "clip_norm": clip_norm}
    adam = optimizers.AdamW(model.parameters, lr=lr, **options)
    workspace, count = minilm.Workspace(), 0

    def step():
        nonlocal count
        with workspace.step():
            loss, saved = model.forward(*batches[count % len(batches)])
            model.backward(saved)
        count += 1
        return float(loss), adam.step()

    return step
