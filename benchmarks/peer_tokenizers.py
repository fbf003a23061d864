"""The tokenizers beside which minilm's are timed, with its vocabulary: each as its users call it for one text, on one thread.

Those that are written in Rust share their work out to a pool of as many threads as there are processors, gigatoken and tokie also
the encoding of one text; the pool reads RAYON_NUM_THREADS when it is first used.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
import time
from collections.abc import Callable

import numpy as np

from benchmarks.timing import SETTLE, WARM, Contestant
from minilm.tokenizers.bpe import patterns

os.environ.setdefault("RAYON_NUM_THREADS", "1")
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""  # GPT-2's, as tiktoken writes it
_CL100K = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}DIGITS| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
)
PATTERNS = {  # as tiktoken writes those that it does not backtrack in
    (patterns.GPT2,): PATTERN,
    (patterns.CL100K,): _CL100K.replace("DIGITS", "{1,3}+"),
    (patterns.QWEN2,): _CL100K.replace("DIGITS", ""),
}
RUSTBPE_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


@functools.cache
def ranked(bpe) -> list[bytes]:
    """The tokens of the vocabulary in the order of tiktoken's ranks: bytes, then merges."""
    singles = [token for token in bpe.vocabulary if len(token) == 1]
    tokens = [*singles, *(left + right for left, right in bpe.merges)]
    return list(dict.fromkeys(bpe.decode_bytes([bpe.token_to_id(token)]) for token in tokens))


@functools.cache
def numbered(bpe) -> np.ndarray:
    """minilm's ids of tiktoken's ranks, (V,)."""
    ids = {bpe.decode_bytes([id]): id for id in range(bpe.vocab_size)}
    return np.array([ids[content] for content in ranked(bpe)])


@functools.cache
def definition(bpe) -> str:
    """The vocabulary as a tokenizer.json: to write one of 150,000 tokens takes longer than to encode a text."""
    return bpe.to_json()


def _tiktoken(peer, bpe):
    """It keeps no pieces: cold and warm are the same."""
    ranks = {content: rank for rank, content in enumerate(ranked(bpe))}
    encoding = peer.Encoding(
        "benchmark", pat_str=PATTERNS.get(bpe.pattern, "|".join(bpe.pattern)), mergeable_ranks=ranks, special_tokens={}
    )
    return lambda: encoding.encode_ordinary, lambda ids: [numbered(bpe)[np.array(ids)]]


def _tokenizers(peer, bpe):
    tokenizer = peer.Tokenizer.from_str(definition(bpe))
    return lambda: tokenizer.encode, lambda encoding: [np.array(encoding.ids)]


def _gigatoken(peer, bpe):
    return lambda: peer.Tokenizer.from_json(definition(bpe)).encode, lambda ids: [np.asarray(ids)]


def _tokie(peer, bpe):
    folder = tempfile.TemporaryDirectory()  # as long as something is made of it
    path = os.path.join(folder.name, "tokenizer.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(definition(bpe))

    def make(folder=folder):
        return functools.partial(peer.Tokenizer.from_json(path).encode, add_special_tokens=False)

    return make, lambda encoding: [np.array(encoding.ids)]


ENCODERS = {"tiktoken": _tiktoken, "tokenizers": _tokenizers, "gigatoken": _gigatoken, "tokie": _tokie}
KEEPS = {"gigatoken", "tokie"}  # pieces that it has met: "cold" is a tokenizer of its own for every sample


def one_by_one(name: str, peer, bpe, texts: list[str]) -> Contestant:
    """A peer that encodes short texts, a call each."""
    make, arrays = ENCODERS[name](peer, bpe)
    encode = make()
    return Contestant(
        name,
        lambda: [encode(text) for text in texts],
        lambda several: [np.concatenate([arrays(each)[0] for each in several])],
    )


def contestant(name: str, peer, bpe, text: str, heat: str) -> Contestant:
    """A peer that encodes a text."""
    make, arrays = ENCODERS[name](peer, bpe)
    encode = make()
    run = functools.partial(encode, text)
    rounds = 1 if name == "tokenizers" else 3
    if heat == "warm" or name not in KEEPS:
        return Contestant(name, run, arrays, rounds=rounds)

    return Contestant(name, run, arrays, sample=lambda: first_call(make, text, run), rounds=rounds)


def first_call(make: Callable, text: str, known: Callable) -> float:
    """Seconds of the first call of an encoder that `make` makes, in a turn like any other (see `timing`).

    So behind a pause, and calls that are not timed: `known`, of an encoder that knows the text, and the first call of another
    one. A peer that keeps nothing has read its vocabulary's tables just before, too.
    """
    earlier, encode = make(), make()
    time.sleep(SETTLE)
    start = time.perf_counter()
    while time.perf_counter() < start + WARM:
        known()
    earlier(text)
    start = time.perf_counter()
    encode(text)
    return time.perf_counter() - start


def as_arrays(merges) -> list[np.ndarray]:
    """Merges as numbers, which is what contestants are compared by."""
    return [np.frombuffer("\n".join(map(" ".join, merges)).encode("utf-8"), np.uint8)]


def _train_tokenizers(peer, chunks: list[str], size: int):
    def train():
        trained = peer.Tokenizer(peer.models.BPE())
        trained.pre_tokenizer = peer.pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = peer.pre_tokenizers.ByteLevel.alphabet()
        options = {"special_tokens": ["<|endoftext|>"], "initial_alphabet": alphabet, "show_progress": False}
        trained.train_from_iterator(chunks, peer.trainers.BpeTrainer(vocab_size=size, min_frequency=2, **options))
        return trained

    return train, lambda trained: as_arrays(json.loads(trained.to_str())["model"]["merges"])


def _train_rustbpe(peer, chunks: list[str], size: int):
    """Equal counts are ordered in another way, so merges are not compared."""

    def train():
        tokenizer = peer.Tokenizer()
        tokenizer.train_from_iterator(iter(chunks), size, pattern=RUSTBPE_PATTERN)
        return tokenizer

    return train, None


def _train_gigatoken(peer, chunks: list[str], size: int):
    """As rustbpe."""
    source = "".join(chunks).encode()
    return lambda: peer.train_bpe(source, size, []), None


TRAINERS = {"tokenizers": _train_tokenizers, "rustbpe": _train_rustbpe, "gigatoken": _train_gigatoken}
