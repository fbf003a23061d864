"""Training of other models beside the libraries of their field: BERT, word vectors, conditional random fields, memory networks.

``bert``
    A whole encoder, forward and backward, beside the same in transformers.
``word2vec``
    A pass over a text, on one thread each, beside gensim.
``crf``
    The loss of a conditional random field over sparse features and its gradient, beside python-crfsuite, of which an iteration of
    its own training is timed.
``memory_network``
    A step of an end-to-end memory network, beside the same in PyTorch.
"""

from __future__ import annotations

import functools

import numpy as np

import minilm
from benchmarks import peer_models, peer_tasks
from benchmarks.case import Case, twice
from benchmarks.cases_ops import aside, under
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import models, ops, optimizers
from minilm.models.memory_network import MemoryNetwork

BERT = {"vocab_size": 8000, "hidden_size": 384, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 1536}
TINY_BERT = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
WORDS = {"vocab_size": 10_000, "size": 100, "window": 5, "negatives": 5, "subsample": 0.0}
CRF = {"sequences": 400, "T": 25, "tags": 12, "features": 20_000, "active": 8}
MEMORY = {"vocab_size": 60, "embed_dim": 32, "hops": 3, "memory_size": 20, "time_noise": 0.0}


def cases(quick: bool = False) -> list[Case]:
    """All of them; `quick` shrinks every size to what a test can afford."""
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    bert = models.BERTConfig(**(TINY_BERT if quick else BERT), **dropout)
    sizes = {name: min(size, 6) for name, size in CRF.items()} if quick else CRF
    crf = f"crf {sizes['sequences']} x {sizes['T']} K {sizes['tags']}, {sizes['features']:,} features"
    tokens = sizes["sequences"] * sizes["T"]
    return [
        bert_case(bert, *((2, 5) if quick else (8, 128))),
        *(word_case(algorithm, *((2_000, 8) if quick else (100_000, 100))) for algorithm in ("skip-gram", "cbow")),
        Case(
            crf,
            "models",
            "crf_features",
            functools.partial(crf_contestants, sizes),
            tokens=tokens,
            target=1.0,
            against="crfsuite",
        ),
        Case("memory_network B 32 M 10 J 6 D 32", "models", "memory_network", memory_contestants, target=1.0),
    ]


# --- an encoder ---------------------------------------------------------------------------------------------------------


def bert_case(config, B: int, T: int) -> Case:
    """A step without an optimizer."""
    name = f"bert B {B} T {T} D {config.hidden_size} x {config.num_hidden_layers}"
    build = functools.partial(bert_contestants, config, B, T)
    return Case(name, "models", "bert", build, flops=bert_flops(config, B, T), tokens=B * T, target=1.3)


def bert_flops(config, B: int, T: int) -> int:
    """Multiplications and additions, forward and backward: products of weights, and of attention."""
    D, F = config.hidden_size, config.intermediate_size
    return config.num_hidden_layers * (6 * B * T * (4 * D * D + 2 * D * F) + 12 * B * T * T * D)


def bert_contestants(config, B: int, T: int, peers: Peers) -> list[Contestant]:
    """The same ids and the same gradient of the output; what is compared is the output."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, config.vocab_size, (B, T))
    dy = rng.standard_normal((B, T, config.hidden_size), np.float32)
    model = models.BERT(config, pooler=False, seed=0)

    def step(workspace):
        model.parameters.zero_gradients()
        with workspace.step():
            output, saved = model.forward(ids)
            model.backward(dy, saved)
        return output.hidden.copy()

    contestants = [
        Contestant(name, under(name, functools.partial(step, minilm.Workspace())), lambda y: [y], rounds=aside(name))
        for name in ("minilm", "oracle")
    ]
    transformers, weights = peers.get("transformers"), model.parameters.state_dict()
    if transformers is not None and peers.get("torch"):
        make = functools.partial(peer_tasks.bert_step, transformers, config, weights, ids, dy)
        contestants += peer_models.steps(peers, make, lambda step: lambda y: [y.detach().float().numpy()])
    return contestants


# --- word vectors -------------------------------------------------------------------------------------------------------


def word_case(algorithm: str, words: int, size: int) -> Case:
    """A pass over so many words."""
    name = f"word2vec {algorithm} V {WORDS['vocab_size']:,} D {size}, {words:,} words"
    build = functools.partial(word_contestants, algorithm, words, size)
    return Case(name, "models", "word2vec", build, tokens=words, target=3.0, against="gensim")


def word_contestants(algorithm: str, words: int, size: int, peers: Peers) -> list[Contestant]:
    """A text of words by Zipf's law, in sentences of 20; nothing is compared, each draws its own negatives."""
    V = WORDS["vocab_size"]
    ids = np.minimum(np.random.default_rng(0).zipf(1.1, words * 4) - 1, 2**40)
    ids = ids[ids < V][:words].reshape(-1, 20)  # (S, 20)
    model = models.Word2Vec(models.Word2VecConfig(**{**WORDS, "size": size}, algorithm=algorithm), seed=0)
    contestants = [Contestant("minilm", lambda: model.train(list(ids), epochs=1, seed=0))]
    if (gensim := peers.get("gensim")) is not None:
        contestants.append(Contestant("gensim", peer_tasks.word2vec(gensim, algorithm, ids, {**WORDS, "size": size})))
    return contestants


# --- conditional random fields over features ----------------------------------------------------------------------------


def crf_contestants(sizes: dict, peers: Peers) -> list[Contestant]:
    """The loss of all sequences and its gradient by every weight; crfsuite's is an iteration of its training on them."""
    N, T, K, F, A = sizes.values()
    rng = np.random.default_rng(0)
    features = rng.integers(0, F, (N, T, A))
    tags = rng.integers(0, K, (N, T))
    W = rng.standard_normal((F, K), np.float32)
    transitions, start, end = (rng.standard_normal(shape, np.float32) for shape in ((K, K), (K,), (K,)))
    workspace, ones = minilm.Workspace(), np.ones(N, np.float32)

    def run():
        with workspace.step():
            vectors, embedded = ops.embedding.forward(features, W)  # (N, T, A, K)
            nll, saved = ops.crf.forward(vectors.sum(axis=2), tags, transitions, start, end)
            demissions, *rest = ops.crf.backward(ones, saved)  # (N, T, K)
            dvectors = np.repeat(demissions[:, :, None], A, axis=2)  # (N, T, A, K)
            dW = ops.embedding.backward(dvectors, embedded)
        return nll.sum(), dW, rest

    contestants = [
        Contestant(name, under(name, run), lambda out: [out[0], out[1]], rounds=aside(name)) for name in ("minilm", "oracle")
    ]
    if (crfsuite := peers.get("crfsuite")) is not None:
        sample = peer_tasks.crf_iteration(crfsuite, features, tags)
        contestants.append(Contestant("crfsuite", lambda: None, sample=sample, rounds=3))
    return contestants


# --- memory networks ----------------------------------------------------------------------------------------------------


def memory_contestants(peers: Peers, B: int = 32) -> list[Contestant]:
    """The same weights and stories for all; without the noise in time."""
    rng = np.random.default_rng(0)
    V = MEMORY["vocab_size"]
    batch = rng.integers(1, V, (B, 10, 6)), rng.integers(1, V, (B, 6)), rng.integers(1, V, (B,))  # story, question, answers

    def make_step(name):
        model = MemoryNetwork(**MEMORY, seed=0)
        adam = optimizers.Adam(model.parameters, lr=1e-3, clip_norm=40.0)
        workspace = minilm.Workspace()

        def step():
            with workspace.step():
                loss, saved = model.forward(*batch)
                model.backward(saved)
            return float(loss), adam.step()

        return under(name, step)

    own = []
    for name in ("minilm", "oracle"):
        run = make_step(name)
        own.append(Contestant(name, run, twice(run), rounds=aside(name)))
    weights = MemoryNetwork(**MEMORY, seed=0).parameters.state_dict()
    return [*own, *peer_models.steps(peers, functools.partial(peer_tasks.memory_step, MEMORY, weights, batch), twice)]
