"""Writing token by token, always the most probable one, and reading with an encoder: what a trained model is used for.

``generate``
    A recurrent model writes one text.
``gpt_generate``
    GPT-2's 124 million parameters write one text, with the cache of keys and values. Every weight is read once a token, so the
    roof is the memory's: parameters, 4 bytes each (1 in int8, 2 in bf16), over its bandwidth.
``decode_share``
    GPT-2 and SmolLM2 (135 million) write, beside reading their weights alone, right before and after: the share of the
    read bandwidth of that moment.
``encode``
    A BERT of MiniLM's size reads sentences, in float32 and with int8 weights.
``translate``
    See `benchmarks.cases_translate`.
"""

from __future__ import annotations

import functools

import numpy as np

import minilm
from benchmarks import (
    cases_translate,
    peer_generation,
    peer_models,
    peer_ops,
    peer_tasks,
    peer_transformers,
    precisions,
    read_share,
)
from benchmarks.case import Case
from benchmarks.cases_models import CHARACTERS
from benchmarks.cases_ops import aside, under
from benchmarks.cases_tasks import TINY_BERT
from benchmarks.cases_transformers import NO_DROPOUT, TINY
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import models
from minilm.quantized.spec import GROUP, SMALL_GROUP

TOKENS = {"generate": 64, "gpt_generate": 32}  # written in one run
BYTES = {"float32": 4, "bf16": 2, "int8": 1}  # of a weight
TINY_LLAMA = {"vocab_size": 7, "hidden_size": 32, "intermediate_size": 33, "num_hidden_layers": 1}
TINY_LLAMA |= {"num_attention_heads": 2, "num_key_value_heads": 1}
SHARED = {"float32": 6, "bf16": 10, "int8": 16, "int4": 24}  # tokens of a repetition: some 50 ms
ENCODER = {"vocab_size": 30_522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}


def cases(quick: bool = False) -> list[Case]:
    """All of them; `quick` shrinks every size to what a test can afford."""
    recurrent = models.RNNLanguageModelConfig(**({**CHARACTERS, "hidden_size": 4} if quick else CHARACTERS))
    gpt = models.GPTConfig.gpt2(**(TINY if quick else {}), **NO_DROPOUT)
    read = gpt.parameter_count - gpt.n_positions * gpt.n_embd  # numbers that every token needs
    llama = models.LlamaConfig.smollm2(max_position_embeddings=1024, **(TINY_LLAMA if quick else {}))
    bert = models.BERTConfig(**(TINY_BERT if quick else ENCODER))
    return [
        recurrent_case(recurrent, 4 if quick else TOKENS["generate"]),
        *(gpt_case(gpt, 4 if quick else TOKENS["gpt_generate"], precision) for precision in BYTES),
        *(share_case(models.GPT, gpt, read, 2 if quick else SHARED[precision], precision) for precision in SHARED),
        *(
            share_case(models.Llama, llama, llama.parameter_count, 2 if quick else SHARED[precision], precision)
            for precision in SHARED
        ),
        *(encode_case(bert, *((2, 5) if quick else (16, 64)), precision) for precision in ("float32", "int8")),
        *cases_translate.cases(quick),
    ]


def writer(model, tokens: int):
    """Tokens of one text from token 0 and an empty state; the logits of the last."""

    def run():
        ids, state = np.zeros(1, np.int64), model.initial_state(1)  # (1,)
        for _ in range(tokens):
            logits, state = model.step(ids, state)  # (1, V)
            ids = logits.argmax(axis=-1)
        return logits

    return run


def own(model, tokens: int) -> list[Contestant]:
    """minilm and its oracle."""
    return [
        Contestant(name, under(name, writer(model, tokens)), lambda logits: [logits], rounds=aside(name))
        for name in ("minilm", "oracle")
    ]


def recurrent_case(config, tokens: int) -> Case:
    """A recurrent model writes."""
    V, E, H, gates = config.vocab_size, config.embedding_size, config.hidden_size, {"rnn": 1, "gru": 3, "lstm": 4}[config.cell]
    read = gates * H * (E + H + 2) + V * (H + 1)  # numbers that every token needs; of the embedding it needs one row

    def build(peers: Peers) -> list[Contestant]:
        model = models.RNNLanguageModel(config, seed=0)
        contestants = own(model, tokens)
        if (torch := peers.get("torch")) is not None:
            ways = peer_models.generation(torch, config, model.parameters.state_dict(), tokens)
            contestants.append(Contestant("torch", peer_ops.quickest(ways), lambda logits: [logits.numpy()]))
        return contestants

    name = f"generate {config.cell} B 1 V {config.vocab_size:,} H {config.hidden_size}"
    work = {"flops": 2 * read * tokens, "moved": 4 * read * tokens, "working": 4 * read}
    return Case(name, "generation", "generate", build, **work, tokens=tokens, target=1.0)


def gpt_case(config, tokens: int, precision: str) -> Case:
    """GPT-2 writes."""
    read = config.parameter_count - config.n_positions * config.n_embd
    name = f"gpt_generate B 1 V {config.vocab_size:,} D {config.n_embd} x {config.n_layer}"
    size = BYTES[precision] * read
    against = {"float32": "transformers", "bf16": "ctranslate2", "int8": "ctranslate2-int8"}[precision]
    return Case(
        name=name if precision == "float32" else f"{name}, {precision}",
        suite="generation",
        subject="gpt_generate",
        build=functools.partial(gpt_contestants, config, tokens, precision),
        flops=2 * read * tokens,
        moved=size * tokens,
        working=size,
        tokens=tokens,
        target=2.0 if precision == "float32" else 1.0,
        against=against,
        precision=precision,
    )


def gpt_contestants(config, tokens: int, precision: str, peers: Peers) -> list[Contestant]:
    """All start from the same weights."""
    model = models.GPT(config, seed=0)
    weights, threads = model.parameters.state_dict(), peers.threads or 1
    if precision == "float32":
        contestants = own(model, tokens)
        if (transformers := peers.get("transformers")) is not None and (torch := peers.get("torch")) is not None:
            run = peer_transformers.generation(transformers, torch, config, weights, tokens)
            contestants.append(Contestant("transformers", run, lambda logits: [logits.numpy()]))
    else:
        contestants = [
            Contestant("minilm", writer(precisions.quantized(models.GPT(config, seed=0), precision), tokens)),
            Contestant("float32", writer(model, tokens)),
        ]
    kind = "int8" if precision == "int8" else "float32"
    suffix = "" if kind == "float32" else "-int8"
    if (ctranslate2 := peers.get(f"ctranslate2{suffix}")) is not None:
        run = peer_generation.ctranslate2_writer(ctranslate2, config, weights, tokens, threads, kind)
        contestants.append(Contestant(f"ctranslate2{suffix}", run))
    if (onnxruntime := peers.get(f"onnxruntime{suffix}")) is not None:
        run = peer_generation.onnx_writer(onnxruntime, config, weights, tokens, threads, kind)
        arrays = (lambda logits: [logits]) if precision == "float32" else None
        contestants.append(Contestant(f"onnxruntime{suffix}", run, arrays))
    return contestants


def weight_bytes(numbers: int, logits: int, precision: str) -> int:
    """Of so many weights, `logits` of which are lm_head's, with their scales."""
    if precision == "int4":  # lm_head in 8 bits
        return (numbers - logits) * (SMALL_GROUP // 2 + 4) // SMALL_GROUP + logits * (SMALL_GROUP + 4) // SMALL_GROUP
    return numbers * BYTES[precision] + (numbers // GROUP * 4 if precision == "int8" else 0)


def share_case(make, config, numbers: int, tokens: int, precision: str) -> Case:
    """A model writes, beside reading the `numbers` weights that a token wants."""
    size = weight_bytes(numbers, config.vocab_size * (config.n_embd if make is models.GPT else config.hidden_size), precision)

    def build(peers: Peers) -> list[Contestant]:
        model = make(config, seed=0)
        if precision != "float32":
            precisions.quantized(model, precision)
        return read_share.contestants(writer(model, tokens), tokens, size, peers.threads or 1)

    name = f"decode_share {make.__name__} B 1 V {config.vocab_size:,}, {config.parameter_count / 1e6:.0f}M, {precision}"
    share = {"target": 0.8, "against": read_share.RIVAL, "rounds": 15, "precision": precision}
    return Case(name, "generation", "decode_share", build, tokens=tokens, **share)


def encode_case(config, B: int, T: int, precision: str) -> Case:
    """An encoder reads B sentences of T tokens."""
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    flops = L * (2 * B * T * (4 * D * D + 2 * D * F) + 4 * B * T * T * D)
    name = f"encode bert B {B} T {T} D {D} x {L}"
    return Case(
        name=name if precision == "float32" else f"{name}, {precision}",
        suite="generation",
        subject="encode",
        build=functools.partial(encoders, config, B, T, precision),
        flops=flops,
        tokens=B * T,
        target=1.3 if precision == "float32" else 1.0,
        against="transformers" if precision == "float32" else "onnxruntime-int8",
        precision=precision,
    )


def encoders(config, B: int, T: int, precision: str, peers: Peers) -> list[Contestant]:
    """All start from the same weights."""
    model = models.BERT(config, pooler=False, seed=0)
    weights, ids = model.parameters.state_dict(), np.random.default_rng(0).integers(0, config.vocab_size, (B, T))
    if precision == "float32":
        contestants = [
            Contestant(name, under(name, encoder(model, ids)), lambda y: [y], rounds=aside(name)) for name in ("minilm", "oracle")
        ]
        if (transformers := peers.get("transformers")) is not None and (torch := peers.get("torch")) is not None:
            peer, tensor = peer_tasks.bert(transformers, torch, config, weights).eval(), torch.from_numpy(ids)

            @torch.inference_mode()
            def read():
                return peer(input_ids=tensor).last_hidden_state

            contestants.append(Contestant("transformers", read, lambda y: [y.numpy()]))
    else:
        rounded = precisions.quantized(models.BERT(config, pooler=False, seed=0), precision)
        contestants = [Contestant("minilm", encoder(rounded, ids)), Contestant("float32", encoder(model, ids))]
    suffix = "" if precision == "float32" else f"-{precision}"
    if (onnxruntime := peers.get(f"onnxruntime{suffix}")) is not None:
        run = peer_generation.onnx_reader(onnxruntime, config, weights, ids, peers.threads or 1, precision)
        contestants.append(Contestant(f"onnxruntime{suffix}", run, (lambda y: [y]) if precision == "float32" else None))
    return contestants


def encoder(model, ids: np.ndarray):
    """The last hidden states of sentences ids (B, T)."""
    workspace = minilm.Workspace()

    def run():
        with workspace.step():
            return model.forward(ids)[0].hidden

    return run
