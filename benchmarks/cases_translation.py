"""Training steps of encoder-decoders: forward, backward, clipping, AdamW; without dropout, so that peers can be compared.

``transformer``
    The one that `minilm recipe translate` trains on sentences.
``seq2seq``
    The one that it trains on dates: a bidirectional LSTM and Bahdanau's attention.
"""

from __future__ import annotations

import numpy as np

import minilm
from benchmarks import peer_models, peer_translation
from benchmarks.case import Case, twice
from benchmarks.cases_ops import aside, under
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import models, optimizers

TRANSFORMER = {
    "vocab_size": 8000, "d_model": 256, "num_heads": 8, "encoder_layers": 3, "decoder_layers": 3, "hidden_dim": 512,
    "norm_first": True, "dropout": 0.0,
}  # fmt: skip
TINY_TRANSFORMER = {
    "vocab_size": 7, "d_model": 8, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1, "hidden_dim": 9,
    "norm_first": True, "dropout": 0.0,
}  # fmt: skip
SEQ2SEQ = {"vocab_size": 64, "embedding_size": 64, "hidden_size": 128, "attention": "bahdanau", "bidirectional": True}
TINY_SEQ2SEQ = {"vocab_size": 7, "embedding_size": 3, "hidden_size": 4, "attention": "bahdanau", "bidirectional": True}


def cases(quick: bool = False) -> list[Case]:
    """Both; `quick` shrinks every size to what a test can afford."""
    transformer = models.TransformerConfig(**(TINY_TRANSFORMER if quick else TRANSFORMER))
    seq2seq = models.Seq2SeqConfig(**(TINY_SEQ2SEQ if quick else SEQ2SEQ))
    return [
        step_case(models.Transformer, transformer, *((2, 4, 3) if quick else (128, 16, 16))),
        step_case(models.Seq2Seq, seq2seq, *((2, 4, 3) if quick else (128, 24, 11))),
    ]


def step_case(kind, config, B: int, S: int, T: int) -> Case:
    """One step of training on B pairs of S and T tokens."""
    subject = config.model_type
    width = config.d_model if subject == "transformer" else config.hidden_size
    name = f"{subject} B {B} S {S} T {T} V {config.vocab_size:,} D {width}"
    build = lambda peers: contestants(kind, config, B, S, T, peers)  # noqa: E731
    return Case(name, "models", subject, build, flops=flops(config, B, S, T), tokens=B * (S + T), target=1.3)


def flops(config, B: int, S: int, T: int) -> int:
    """Multiplications and additions of a step: three products for every weight and row, attention left out."""
    if config.model_type == "transformer":
        D, F = config.d_model, config.hidden_dim
        encoder = S * config.encoder_layers * (4 * D * D + 2 * D * F)
        decoder = config.decoder_layers * (T * (6 * D * D + 2 * D * F) + S * 2 * D * D)
        return 6 * B * (encoder + decoder + T * D * config.outputs)
    E, H = config.embedding_size, config.hidden_size
    encoder, decoder = S * 8 * (H // 2) * (E + H // 2), T * 4 * H * (E + H)
    attention = S * H * H + T * (H * H + 2 * H * H) + T * S * 16 * H  # a tanh, twice in backward, counts as many
    return 6 * B * (encoder + decoder + attention + T * H * config.outputs)


def contestants(kind, config, B: int, S: int, T: int, peers: Peers, lr: float = 1e-3, clip_norm: float = 1.0) -> list[Contestant]:
    """The same weights, batches and settings for all."""
    rng = np.random.default_rng(0)
    V, W = config.vocab_size, config.outputs
    batches = [(rng.integers(0, V, (B, S)), *rng.integers(0, W, (2, B, T))) for _ in range(4)]  # source, inputs, targets

    own = []
    for name in ("minilm", "oracle"):
        run = under(name, training_step(kind(config, seed=0), batches, lr, clip_norm))
        own.append(Contestant(name, run, twice(run), rounds=aside(name)))
    weights = kind(config, seed=0).parameters.state_dict()

    def make(torch, prepare):
        return peer_translation.training_step(torch, config, weights, batches, lr, clip_norm, prepare)

    return [*own, *peer_models.steps(peers, make, twice)]


def training_step(model, batches: list, lr: float, clip_norm: float):
    """One step of training after another; returns loss and norm of the gradients."""
    adam = optimizers.AdamW(model.parameters, lr=lr, weight_decay=0.0, clip_norm=clip_norm)
    workspace, count = minilm.Workspace(), 0

    def step():
        nonlocal count
        with workspace.step():
            loss, saved = model.forward(*batches[count % len(batches)])
            model.backward(saved)
        count += 1
        return float(loss), adam.step()

    return step
