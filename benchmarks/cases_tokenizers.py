"""Byte-level BPE beside tiktoken, tokenizers, gigatoken and tokie, its training beside rustbpe and tokenizers, and WordPiece.

`VOCABULARIES` and real texts come from the folder that the environment variable MINILM_TEST_CORPORA names, as far as they are
there (GPT-2's also from the one of MINILM_TEST_GPT2: encoder.json and vocab.bpe); without GPT-2's, a vocabulary is trained on
the built-in stories. A row says which vocabulary and which text it is about (see `texts`).

All encode one text on one thread: `peer_tokenizers` holds those to one that would take more. "cold" is a tokenizer that has its
tables and has seen no text yet, "warm" one that has seen this one; the peers are what they are at that moment. Cold says nothing
of the processor's caches: all have the same calls before the one that is timed (`peer_tokenizers.first_call`). Kernels are
compiled before, and ids compared.

A new text is one more entry of `texts`, a new encoder one more line of `peer_tokenizers.ENCODERS`.
"""

from __future__ import annotations

import functools
import gzip
import os
import tempfile

import numpy as np

from benchmarks import cases_wordpiece, peer_tokenizers, texts
from benchmarks.case import Case
from benchmarks.corpora import FOLDER
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import data
from minilm.tokenizers import ByteLevelBPE
from minilm.tokenizers.bpe import state as thread_state

HEATS = ("cold", "warm")
WORST = {"letters": "a", "spaces": " ", "digits": "7", "emoji": "😀"}
TARGET, TEN_TIMES = 10.0, ("Chinese", "Japanese", "Korean", "Thai", "Arabic", "Hindi", "code")  # times tiktoken's speed, cold
LEAST = 1 / 1.5  # of gigatoken's speed, on every text, cold and warm
GPT2 = "gpt2"
VOCABULARIES = {  # name -> file in the folder's "vocabularies", and the pattern where the file has none
    GPT2: ("gpt2.tokenizer.json.gz", None),
    "cl100k": ("cl100k_base.tiktoken.gz", "cl100k"),
    "qwen3": ("qwen3.tokenizer.json.gz", None),
    "cl100k cut as o200k": ("cl100k_base.tiktoken.gz", "o200k"),  # o200k's own ranks are not among the files
}
LEARNT = ("English", "Russian", "Arabic", "Hindi", "Thai", "Chinese", "Japanese", "Korean", "code")  # texts to train on alone
SOME = ("stories", "code", "English", "German of XQuAD", "Chinese", "Japanese")  # texts for vocabularies but the first


@functools.cache
def tokenizer(name: str = GPT2) -> ByteLevelBPE:
    """One of VOCABULARIES; for GPT-2's, where it is not here, one of our own."""
    folder = os.environ.get("MINILM_TEST_GPT2")
    if folder and name == GPT2:
        return ByteLevelBPE.from_pretrained(folder)
    if (packed := _packed(name)) is None:
        return ByteLevelBPE.train_from_chunks(data.text("stories"), vocab_size=8000)
    pattern = VOCABULARIES[name][1]
    with gzip.open(packed) as source, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, ".tiktoken" if pattern else "tokenizer.json")
        with open(path, "wb") as file:
            file.write(source.read())
        return ByteLevelBPE.from_tiktoken(path, pattern=pattern) if pattern else ByteLevelBPE.load(path)


def _packed(name: str) -> str | None:
    """The path of a vocabulary, or None where it is not here."""
    path = os.path.join(os.environ.get(FOLDER, ""), "vocabularies", VOCABULARIES[name][0])
    return path if os.path.exists(path) else None


def cases(quick: bool = False) -> list[Case]:
    """Encoding, cold and warm, the worst inputs, and training; then WordPiece."""
    size = 3_000 if quick else 1_200_000
    written, drawn = texts.written(size), texts.drawn(size)
    own = "gpt2" if _packed(GPT2) or os.environ.get("MINILM_TEST_GPT2") else "own vocabulary"
    all_cases = [_text(GPT2, own, *each, heat) for each in (written | drawn).items() for heat in HEATS]
    some = {name: text for name, text in written.items() if name.startswith(SOME)}
    for name in VOCABULARIES:
        if name != GPT2 and _packed(name):
            all_cases += [_text(name, name, *each, heat) for each in some.items() for heat in HEATS]
    # Without peers, some of which take minutes where time is quadratic in the length of a piece.
    all_cases += [
        _case(f"bpe {own}, {size:,} {name}, warm", GPT2, unit * size, "warm", alone=True) for name, unit in WORST.items()
    ]
    sentences = written["stories"][:20_000].replace("\n", " ").split(". ")
    name = f"bpe {own}, {len(sentences)} sentences one by one"
    targets = {"target": 1.0, "against": "gigatoken", "also": {"tiktoken": 1.0, "tokenizers": 1.0, "tokie": 1.0}}
    size = len("".join(sentences).encode())
    all_cases.append(Case(name, "tokenizers", "bpe", functools.partial(_one_by_one, GPT2, sentences), text_bytes=size, **targets))
    learnt = {
        "all of them": "".join((written | drawn).values()),
        **{name: written[name] for name in written if name.startswith(LEARNT)},
    }
    all_cases += [_learning(*each, quick) for each in learnt.items()]
    return [*all_cases, *cases_wordpiece.cases(quick)]


def _text(vocabulary: str, label: str, name: str, text: str, heat: str) -> Case:
    """A text of `texts`, with what is asked for it."""
    full = f"bpe {label}, {name}, {heat}"
    if heat == "cold" and vocabulary == GPT2 and name.startswith(TEN_TIMES):
        return _case(full, vocabulary, text, heat, target=TARGET, against="tiktoken", also={"gigatoken": LEAST})
    return _case(full, vocabulary, text, heat, target=LEAST, against="gigatoken")


def _case(name: str, vocabulary: str, text: str, heat: str, alone: bool = False, **targets) -> Case:
    build = functools.partial(_encoders, vocabulary, text, heat, alone)
    return Case(name, "tokenizers", "bpe", build, text_bytes=len(text.encode()), **{"against": "tiktoken", **targets})


def _encoders(vocabulary: str, text: str, heat: str, alone: bool, peers: Peers) -> list[Contestant]:
    bpe = tokenizer(vocabulary)
    text = bpe._encoder.normalized(text)  # which tiktoken does not
    encode = functools.partial(bpe.encode, text)
    first = functools.partial(peer_tokenizers.first_call, lambda: _new(bpe), text, encode)
    contestants = [Contestant("minilm", encode, lambda ids: [ids], sample=first if heat == "cold" else None)]
    for name in () if alone else peer_tokenizers.ENCODERS:
        if (peer := peers.get(name)) is not None:
            contestants.append(peer_tokenizers.contestant(name, peer, bpe, text, heat))
    return contestants


def _new(bpe: ByteLevelBPE):
    """A tokenizer's `encode` of which the next call is as the first: with tables of the vocabulary, and none of pieces yet."""
    states = bpe._encoder.states  # the last one is taken first, and put back
    del states[:-1]
    state = thread_state.make_state(bpe._encoder.tables)

    def encode(text: str):
        states.append(state)
        return bpe.encode(text)

    return encode


def _one_by_one(vocabulary: str, sentences: list[str], peers: Peers) -> list[Contestant]:
    bpe = tokenizer(vocabulary)
    contestants = [Contestant("minilm", lambda: [bpe.encode(text) for text in sentences], lambda ids: [np.concatenate(ids)])]
    for name in peer_tokenizers.ENCODERS:
        if (peer := peers.get(name)) is not None:
            contestants.append(peer_tokenizers.one_by_one(name, peer, bpe, sentences))
    return contestants


def _learning(name: str, text: str, quick: bool) -> Case:
    """Training on a text: 30,000 tokens of all texts together, fewer of one."""
    vocabulary = 300 if quick else 30_000 if name == "all of them" else 8_000
    full, moved = f"bpe training, {name}, {len(text.encode()) / 1e6:.1f} MB", len(text.encode())
    build = functools.partial(_training, text, vocabulary)
    return Case(
        full,
        "tokenizers",
        "bpe_training",
        build,
        text_bytes=moved,
        target=1.0,
        against="rustbpe",
        also={"gigatoken": 1.0},
        rounds=3,
    )


def _training(text: str, size: int, peers: Peers) -> list[Contestant]:
    lines = text.splitlines(keepends=True)
    chunks = ["".join(lines[start : start + 500]) for start in range(0, len(lines), 500)]  # what the peers share out to threads

    def train():
        return ByteLevelBPE._train(chunks, "text", vocab_size=size).merges

    contestants = [Contestant("minilm", train, peer_tokenizers.as_arrays)]
    for name, make in peer_tokenizers.TRAINERS.items():
        if (peer := peers.get(name)) is not None:
            contestants.append(Contestant(name, *make(peer, chunks, size), rounds=1))
    return contestants
