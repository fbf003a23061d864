"""Translation: a Transformer of the size that `minilm recipe translate` trains on sentences writes targets.

Greedily, one sentence, and a batch of them, in float32, bfloat16 and int8; and one sentence by a search of 5 beams; beside
CTranslate2, an engine made for it. All start from the same random weights, with which no target ends before its last token.
The recurrent encoder-decoder that the recipe trains on dates, beside the same in PyTorch.
"""

from __future__ import annotations

import functools

import numpy as np

from benchmarks import peer_translation, precisions
from benchmarks.case import Case
from benchmarks.cases_translation import SEQ2SEQ, TINY_SEQ2SEQ, TINY_TRANSFORMER, TRANSFORMER
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import generation, models

SOURCE, TARGET = 16, 16  # tokens of a sentence, as in Multi30k
BEAMS = 5
PRECISIONS = {"float32": "ctranslate2", "bf16": "ctranslate2", "int8": "ctranslate2-int8"}  # and the rival


def cases(quick: bool = False) -> list[Case]:
    """Of each number of sentences and precision; `quick` shrinks every size to what a test can afford."""
    sizes = {**TINY_TRANSFORMER, "vocab_size": 67} if quick else TRANSFORMER
    config = models.TransformerConfig(**sizes, tied=False)  # of random weights a tied one repeats its input
    tokens = 4 if quick else TARGET
    batches, recurrent = (2,) if quick else (1, 32), models.Seq2SeqConfig(**(TINY_SEQ2SEQ if quick else SEQ2SEQ))
    return [
        *(translate_case(config, B, tokens, precision) for B in batches for precision in PRECISIONS),
        translate_case(config, batches[0], tokens, "float32", BEAMS),
        *(recurrent_case(recurrent, B, *((5, 4) if quick else (24, 11))) for B in batches),
    ]


def translate_case(config, B: int, tokens: int, precision: str, beams: int = 1) -> Case:
    """B sources are read, and `tokens` of each target written."""
    D, F, N = config.d_model, config.hidden_dim, config.decoder_layers
    decoder = N * (6 * D * D + 2 * D * F) + D * config.outputs  # weights that a token meets
    encoder = config.encoder_layers * (4 * D * D + 2 * D * F) + N * 2 * D * D
    name = f"translate B {B} S {SOURCE} T {tokens} V {config.vocab_size:,} D {D}" + (f", {beams} beams" if beams > 1 else "")
    return Case(
        name=name if precision == "float32" else f"{name}, {precision}",
        suite="generation",
        subject="translate",
        build=functools.partial(contestants, config, B, tokens, precision, beams),
        flops=2 * B * (SOURCE * encoder + beams * tokens * decoder),
        tokens=B * tokens,
        target=1.0,
        against=PRECISIONS[precision],
        precision=precision,
    )


def contestants(config, B: int, tokens: int, precision: str, beams: int, peers: Peers) -> list[Contestant]:
    """All start from the same weights."""
    model, threads = models.Transformer(config, seed=0), peers.threads or 1
    weights = model.parameters.state_dict()
    source = np.random.default_rng(0).integers(3, config.vocab_size, (B, SOURCE))
    arrays = (lambda targets: targets) if precision == "float32" else None
    own = [Contestant("minilm", writer(model, source, tokens, beams), arrays)]
    if precision != "float32":
        rounded = precisions.quantized(models.Transformer(config, seed=0), precision)
        own = [Contestant("minilm", writer(rounded, source, tokens)), Contestant("float32", own[0].run)]
    rival = PRECISIONS[precision]
    if (ctranslate2 := peers.get(rival)) is not None:
        kind = "int8" if precision == "int8" else "float32"
        run = peer_translation.writer(ctranslate2, config, weights, source, tokens, threads, kind, beams)
        own.append(Contestant(rival, run, arrays))
    return own


def recurrent_case(config, B: int, S: int, tokens: int) -> Case:
    """B sources of S tokens are read, and `tokens` of each target written."""
    E, H = config.embedding_size, config.hidden_size
    decoder = 4 * H * (E + H) + H * H + 2 * H * H + H * config.outputs + S * 9 * H  # a tanh counts as eight
    encoder = 8 * (H // 2) * (E + H // 2) + H * H
    name = f"translate {config.cell} B {B} S {S} T {tokens} V {config.vocab_size:,} H {H}"
    build = functools.partial(recurrent_contestants, config, B, S, tokens)
    flops = 2 * B * (S * encoder + tokens * decoder)
    return Case(name, "generation", "translate", build, flops=flops, tokens=B * tokens, target=1.0)


def recurrent_contestants(config, B: int, S: int, tokens: int, peers: Peers) -> list[Contestant]:
    """All start from the same weights."""
    model = models.Seq2Seq(config, seed=0)
    model.output.bias.value[2] = -100  # the end, which would come at once or never
    weights = model.parameters.state_dict()
    source = np.random.default_rng(0).integers(3, config.vocab_size, (B, S))
    contestants = [Contestant("minilm", writer(model, source, tokens), lambda targets: targets)]
    if (torch := peers.get("torch")) is not None:
        run = peer_translation.seq2seq_writer(torch, config, weights, source, tokens)
        contestants.append(Contestant("torch", run, lambda targets: targets))
    return contestants


def writer(model, source: np.ndarray, tokens: int, beams: int = 1):
    """The targets of sources (B, S); the best of those that a search of several beams finds."""
    options = {"begin": 1, "end": 2, "tokens": tokens}

    def run():
        if beams > 1:
            targets = [best[0].ids for best in generation.beam_targets(model, source, beams=beams, **options)]
        else:
            targets = generation.greedy_targets(model, source, **options)
        if any(len(target) != tokens for target in targets):
            raise RuntimeError("a target ended early: choose other random weights")
        return targets

    return run
