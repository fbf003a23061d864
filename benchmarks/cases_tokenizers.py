"""Byte-level BPE beside tiktoken, tokenizers, gigatoken and tokie, its training beside rustbpe and tokenizers, and WordPiece.

GPT-2's vocabulary and real texts come from the folder that the environment variable MINILM_TEST_CORPORA names, as far as they are
there (the vocabulary also from the one of MINILM_TEST_GPT2: encoder.json and vocab.bpe); else a vocabulary is trained on the
built-in stories. The other texts are drawn letter by letter. All encode one text on one thread. "cold" is a tokenizer that has
its tables and has seen no text yet, "warm" one that has seen this one; the peers are what they are at that moment. Kernels are
compiled before, and ids compared.

A new text is one more entry of what `texts` returns, a new encoder one more line of `peer_tokenizers.ENCODERS`.
"""

from __future__ import annotations

import functools
import gzip
import os
import tempfile
import time

import numpy as np

from benchmarks import cases_wordpiece, peer_tokenizers
from benchmarks.case import Case
from benchmarks.peers import Peers
from benchmarks.timing import SETTLE, Contestant
from minilm import data
from minilm.tokenizers import ByteLevelBPE
from minilm.tokenizers.bpe import encoding

WORST = {"letters": "a", "spaces": " ", "digits": "7", "emoji": "😀"}
TARGET, ASKED = 10.0, ("Chinese", "Japanese", "Korean", "Thai", "Arabic", "Hindi", "code")  # times tiktoken's speed, cold
LEAST = 1 / 1.5  # of gigatoken's speed, on every text, cold and warm
FILES = {"tinyshakespeare": "tinyshakespeare.txt", "German": "multi30k/train.de.gz"}
SCRIPTS = {  # name -> first and last letter, letters a word, what stands between words
    "Chinese": (0x4E00, 0x5200, 0, "。,\n"),
    "Japanese": (0x3041, 0x3096, 0, "、。\n"),
    "Thai": (0x0E01, 0x0E2E, 12, " "),
    "Korean": (0xAC00, 0xB000, 3, " "),
    "Arabic": (0x0621, 0x064A, 6, " "),
    "Hindi": (0x0905, 0x0939, 5, " "),
    "Cyrillic": (0x0430, 0x044F, 6, " "),
}


@functools.cache
def tokenizer() -> ByteLevelBPE:
    """GPT-2's, or one of our own."""
    folder = os.environ.get("MINILM_TEST_GPT2")
    if folder:
        return ByteLevelBPE.from_pretrained(folder)
    packed = os.path.join(os.environ.get("MINILM_TEST_CORPORA", ""), "vocabularies", "gpt2.tokenizer.json.gz")
    if os.path.exists(packed):
        with gzip.open(packed) as source, tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tokenizer.json")
            with open(path, "wb") as file:
                file.write(source.read())
            return ByteLevelBPE.load(path)
    return ByteLevelBPE.train_from_chunks(data.text("stories"), vocab_size=8000)


@functools.cache
def texts(size: int) -> dict[str, str]:
    """Real texts and drawn ones, at most `size` characters each."""
    texts_by_name = {"stories": "".join(data.text("stories")) * 10}
    folder = os.environ.get("MINILM_TEST_CORPORA", "")
    for name, file in FILES.items():
        path = os.path.join(folder, file)
        if folder and os.path.exists(path):
            with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as text:
                texts_by_name[name] = text.read()
    with open(__file__, encoding="utf-8") as source:
        texts_by_name["code"] = source.read() * (1 + size // 5000)
    for name, (first, last, length, between) in SCRIPTS.items():
        texts_by_name[name] = _drawn([chr(code) for code in range(first, last + 1)], length, between, size)
    rng = np.random.default_rng(0)
    texts_by_name["emoji"] = "".join(rng.choice([*map(chr, range(0x1F600, 0x1F650)), " ", "a", "\u200d"], size // 4))
    return {name: text[:size] for name, text in texts_by_name.items()}


def _drawn(letters: list[str], length: int, between: str, size: int) -> str:
    """Text in words of about `length` letters, the frequent ones much more frequent; without words where `length` is 0."""
    rng = np.random.default_rng(0)
    rank = 1 / np.arange(1, len(letters) + 1)
    if not length:
        units = [*letters, *between]
        weights = np.append(rank / rank.sum() * 0.9, np.full(len(between), 0.1 / len(between)))
        return "".join(rng.choice(units, size // 3, p=weights))
    words = ["".join(rng.choice(letters, max(1, rng.poisson(length)))) for _ in range(8000)]
    rank = 1 / np.arange(10, len(words) + 10)
    return between.join(rng.choice(words, size // (length + 1), p=rank / rank.sum()))


def cases(quick: bool = False) -> list[Case]:
    """Encoding, cold and warm, the worst inputs, and training; then WordPiece."""
    size = 3_000 if quick else 1_200_000
    all_texts = texts(size)
    all_cases = [_text(name, text, heat) for name, text in all_texts.items() for heat in ("cold", "warm")]
    # Without peers, some of which take minutes where time is quadratic in the length of a piece.
    all_cases += [_case(f"bpe {size:,} {name}, warm", unit * size, "warm", alone=True) for name, unit in WORST.items()]
    book = "".join(all_texts.values()) * (1 if quick else 2)
    vocabulary = 300 if quick else 30_000
    training = functools.partial(_training, book, vocabulary)
    name, moved = f"bpe training, {len(book.encode()) / 1e6:.1f} MB", len(book.encode())
    all_cases.append(
        Case(name, "tokenizers", "bpe_training", training, text_bytes=moved, target=1.0, against="rustbpe", rounds=3)
    )
    return [*all_cases, *cases_wordpiece.cases(quick)]


def _text(name: str, text: str, heat: str) -> Case:
    """A text that people write, with what is asked for it."""
    if heat == "cold" and name in ASKED:
        return _case(f"bpe {name}, {heat}", text, heat, target=TARGET, against="tiktoken", also={"gigatoken": LEAST})
    return _case(f"bpe {name}, {heat}", text, heat, target=LEAST, against="gigatoken")


def _case(name: str, text: str, heat: str, alone: bool = False, **targets) -> Case:
    build = functools.partial(_encoders, text, heat, alone)
    return Case(name, "tokenizers", "bpe", build, text_bytes=len(text.encode()), **{"against": "tiktoken", **targets})


def _encoders(text: str, heat: str, alone: bool, peers: Peers) -> list[Contestant]:
    bpe = tokenizer()
    encode = functools.partial(bpe.encode, text)

    def sample() -> float:
        """As the peers': a tokenizer of its own, whose tables are made before."""
        bpe._encoder.states[:] = [encoding.make_state(bpe._encoder.tables)]
        time.sleep(SETTLE)
        start = time.perf_counter()
        encode()
        return time.perf_counter() - start

    cold = {"sample": sample} if heat == "cold" else {}
    contestants = [Contestant("minilm", encode, lambda ids: [ids], **cold)]
    for name in () if alone else peer_tokenizers.ENCODERS:
        if (peer := peers.get(name)) is not None:
            contestants.append(peer_tokenizers.contestant(name, peer, bpe, text, heat))
    return contestants


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
