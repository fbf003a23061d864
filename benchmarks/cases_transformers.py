"""Training steps of GPT, and generation with the key-value cache.

``gpt``
    A whole step: forward, backward, clipping, AdamW. Without dropout, so that the first two losses and gradient norms can be
    compared with the peer's.
``gpt_generate``
    Token after token of one text, always the most probable one, by GPT-2 small; the peer is transformers.
"""

from __future__ import annotations

import numpy as np

import minilm
from benchmarks import peer_transformers
from benchmarks.case import Case
from benchmarks.cases_ops import under
from benchmarks.timing import Contestant
from minilm import models, optimizers

NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
STEPS = tuple(
    ({"n_layer": n_layer, "n_head": n_head, "n_embd": D, "n_positions": T, "vocab_size": V}, B)
    for V in (65, 50257)
    for n_layer, n_head, D, T, B in ((4, 4, 128, 64, 12), (6, 6, 384, 256, 4))
)
TOKENS = 32  # generated in one run


def cases(quick: bool = False) -> list[Case]:
    """All of them; `quick` shrinks every size to what a test can afford."""
    tiny = {"n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 6, "vocab_size": 7}
    all_cases = [step_case(models.GPTConfig(**(tiny if quick else sizes), **NO_DROPOUT), 2 if quick else B) for sizes, B in STEPS]
    config = models.GPTConfig.gpt2(**(tiny if quick else {}), **NO_DROPOUT)
    return [*all_cases[: 1 if quick else None], generation_case(config, 4 if quick else TOKENS)]


def flops(config, B: int) -> int:
    """Multiplications and additions of a step: three products for every weight and row, and those of causal attention."""
    V, D, T, L = config.vocab_size, config.n_embd, config.n_positions, config.n_layer
    return 6 * B * T * (L * 12 * D * D + V * D) + L * 7 * B * T * T * D


def step_case(config, B: int) -> Case:
    """One step of training."""
    name = f"gpt B {B} T {config.n_positions} V {config.vocab_size:,} D {config.n_embd} x {config.n_layer}"
    moved = 4 * 9 * config.parameter_count
    return Case(
        name, "models", "gpt", lambda torch: step_contestants(config, B, torch), flops=flops(config, B), moved=moved, target=1.3
    )


def step_contestants(config, B: int, torch, lr: float = 1e-3, clip_norm: float = 1.0, weight_decay: float = 0.1) -> list:
    """The same weights, batches and settings for all."""
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, (8, B, config.n_positions + 1))
    batches = [(np.ascontiguousarray(part[:, :-1]), np.ascontiguousarray(part[:, 1:])) for part in tokens]  # (B, T) each

    def twice(step):
        return lambda first: [np.array(number) for number in (*first, *step())]  # the second loss proves the update

    def contestant(name):
        run = under(name, training_step(config, batches, lr, clip_norm, weight_decay))
        return Contestant(name, run, twice(run))

    contestants = [contestant("minilm"), contestant("oracle")]
    if torch is not None:
        weights = models.GPT(config, seed=0).parameters.state_dict()
        run = peer_transformers.training_step(torch, config, weights, batches, lr, clip_norm, weight_decay)
        contestants.append(Contestant("torch", run, twice(run)))
    return contestants


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


def generation_case(config, tokens: int) -> Case:
    """Tokens one by one for one text."""
    name = f"gpt_generate B 1 V {config.vocab_size:,} D {config.n_embd} x {config.n_layer}"
    return Case(name, "models", "gpt_generate", lambda torch: generation_contestants(config, tokens, torch), target=1.5)


def writers(model, tokens: int) -> list[Contestant]:
    """minilm and its oracle: tokens of one text, always the most probable one, from token 0 and an empty state."""

    def run():
        ids, state = np.zeros(1, np.int64), model.initial_state(1)  # (1,)
        for _ in range(tokens):
            logits, state = model.step(ids, state)  # (1, V)
            ids = logits.argmax(axis=-1)
        return logits

    return [Contestant(name, under(name, run), lambda logits: [logits]) for name in ("minilm", "oracle")]


def generation_contestants(config, tokens: int, torch) -> list[Contestant]:
    """All start from the same weights."""
    model = models.GPT(config, seed=0)
    contestants = writers(model, tokens)
    if torch is not None:
        try:
            import transformers
        except ModuleNotFoundError:
            return contestants
        peer = peer_transformers.generation(transformers, torch, config, model.parameters.state_dict(), tokens)
        contestants.append(Contestant("torch", peer, lambda logits: [logits.numpy()]))
    return contestants
