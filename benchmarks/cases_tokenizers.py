"""Byte-level BPE beside tiktoken and Hugging Face's tokenizers (both Rust), and WordPiece (see `cases_wordpiece`).

::

    python -m benchmarks tokenizers [bpe | wordpiece | NAME ...] [--seconds S] [--quick] [--json FILE]

GPT-2's vocabulary comes from the folder that the environment variable MINILM_TEST_GPT2 names (encoder.json and vocab.bpe), else
one is trained on the built-in stories; real texts from the folder that MINILM_TEST_CORPORA names, as far as they are there. All
encode one text on one thread. "cold" is a tokenizer that has seen no text yet, "warm" one that has seen this one; the peers are
what they are at that moment (tiktoken keeps no pieces, tokenizers keeps some). Kernels are compiled before, and ids compared.
"""

from __future__ import annotations

import functools
import gzip
import json
import os

import numpy as np

from benchmarks.case import Case, measure
from benchmarks.report import show
from benchmarks.timing import Contestant
from minilm import data
from minilm.tokenizers import ByteLevelBPE

PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""  # GPT-2's, as tiktoken writes it
WORST = {"letters": "a", "spaces": " ", "digits": "7", "emoji": "😀"}
TARGET = 10.0  # times tiktoken's speed
FILES = {"tinyshakespeare": "tinyshakespeare.txt", "German": "multi30k/train.de.gz"}


@functools.cache
def tokenizer() -> ByteLevelBPE:
    """GPT-2's, or one of our own."""
    folder = os.environ.get("MINILM_TEST_GPT2")
    if folder:
        return ByteLevelBPE.from_pretrained(folder)
    return ByteLevelBPE.train_from_chunks(data.text("stories"), vocab_size=8000)


def texts(size: int) -> dict[str, str]:
    """Real texts and invented ones, at most `size` characters each."""
    texts_by_name = {"stories": "".join(data.text("stories")) * 10}
    folder = os.environ.get("MINILM_TEST_CORPORA", "")
    for name, file in FILES.items():
        path = os.path.join(folder, file)
        if folder and os.path.exists(path):
            with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as text:
                texts_by_name[name] = text.read()
    rng = np.random.default_rng(0)
    han = [chr(code) for code in range(0x4E00, 0x5200)]
    cyrillic = ["".join(rng.choice(list("абвгдеиклмнопрст"), rng.integers(2, 11))) for _ in range(8000)]
    texts_by_name["Chinese"] = "".join(rng.choice([*han, *"的是了我不人在有他这" * 40, *"。,\n" * 30], size // 3))
    texts_by_name["Cyrillic"] = " ".join(rng.choice(cyrillic, size // 8))
    texts_by_name["emoji"] = "".join(rng.choice([*map(chr, range(0x1F600, 0x1F650)), " ", "a", "\u200d"], size // 4))
    return {name: text[:size] for name, text in texts_by_name.items()}


def cases(quick: bool = False) -> list[Case]:
    """Encoding, cold and warm, the worst inputs, and training."""
    size = 3_000 if quick else 1_200_000
    all_cases = []
    for name, text in texts(size).items():
        for warm in (False, True):
            all_cases.append(_case(f"bpe {name}, {'warm' if warm else 'cold'}", text, warm, TARGET))
    # Without peers, some of which take minutes where time is quadratic in the length of a piece.
    all_cases += [_case(f"bpe {size:,} {name}, warm", unit * size, True, None, alone=True) for name, unit in WORST.items()]
    book = "".join(texts(size).values()) * (1 if quick else 2)
    vocabulary = 300 if quick else 30_000
    training = functools.partial(_training, book, vocabulary)
    all_cases.append(
        Case(f"bpe training, {len(book.encode()) / 1e6:.1f} MB", "tokenizers", "bpe", training, moved=len(book.encode()))
    )
    return all_cases


def _case(name: str, text: str, warm: bool, target: float | None, alone: bool = False) -> Case:
    build = functools.partial(_encoders, text, warm, alone)
    return Case(name=name, suite="tokenizers", subject="bpe", build=build, moved=len(text.encode()), target=target)


def _encoders(text: str, warm: bool, alone: bool, peers: bool) -> list[Contestant]:
    bpe = tokenizer()

    def encode():
        if not warm:
            bpe._states.clear()
        return bpe.encode(text)

    contestants = [Contestant("minilm", encode, lambda ids: [ids])]
    if alone:
        return contestants
    if peers and (tiktoken := _tiktoken()):
        contestants.append(
            Contestant("tiktoken", lambda: tiktoken.encode_ordinary(text), lambda ids: [_numbered()[np.array(ids)]])
        )
    if peers and (rust := _rust()):
        contestants.append(
            Contestant("tokenizers", lambda: rust.encode(text), lambda encoding: [np.array(encoding.ids)], rounds=1)
        )
    return contestants


@functools.cache
def _ranked() -> list[bytes]:
    """The tokens of the vocabulary in the order of tiktoken's ranks: bytes, then merges."""
    bpe = tokenizer()
    singles = [token for token in bpe.vocabulary if len(token) == 1]
    tokens = [*singles, *(left + right for left, right in bpe.merges)]
    return list(dict.fromkeys(bpe.decode_bytes([bpe.token_to_id(token)]) for token in tokens))


@functools.cache
def _numbered() -> np.ndarray:
    """Our ids of tiktoken's ranks, (V,)."""
    bpe = tokenizer()
    ids = {bpe.decode_bytes([id]): id for id in range(bpe.vocab_size)}
    return np.array([ids[content] for content in _ranked()])


@functools.cache
def _tiktoken():
    try:
        import tiktoken
    except ImportError:
        return None
    ranks = {content: rank for rank, content in enumerate(_ranked())}
    return tiktoken.Encoding("benchmark", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})


@functools.cache
def _rust():
    try:
        import tokenizers
    except ImportError:
        return None
    return tokenizers.Tokenizer.from_str(tokenizer().to_json())


def _training(text: str, size: int, peers: bool) -> list[Contestant]:
    lines = text.splitlines(keepends=True)
    chunks = ["".join(lines[start : start + 500]) for start in range(0, len(lines), 500)]  # what the peer shares out to threads

    def train():
        return ByteLevelBPE._train(chunks, "text", vocab_size=size).merges

    contestants = [Contestant("minilm", train, _as_arrays)]
    if peers and _rust():
        import tokenizers as peer

        def train_peer():
            trained = peer.Tokenizer(peer.models.BPE())
            trained.pre_tokenizer = peer.pre_tokenizers.ByteLevel(add_prefix_space=False)
            alphabet = peer.pre_tokenizers.ByteLevel.alphabet()
            special = ["<|endoftext|>"]
            trainer = peer.trainers.BpeTrainer(
                vocab_size=size, min_frequency=2, special_tokens=special, initial_alphabet=alphabet, show_progress=False
            )
            trained.train_from_iterator(chunks, trainer)
            return trained

        contestants.append(
            Contestant("tokenizers", train_peer, lambda trained: _as_arrays(json.loads(trained.to_str())["model"]["merges"]))
        )
    return contestants


def _as_arrays(merges) -> list[np.ndarray]:
    """Merges as numbers, which is what contestants are compared by."""
    return [np.frombuffer("\n".join(map(" ".join, merges)).encode("utf-8"), np.uint8)]


def every(quick: bool) -> list[Case]:
    """The cases of all tokenizers."""
    from benchmarks import cases_wordpiece

    return [*cases(quick), *cases_wordpiece.cases(quick)]


def report(names: list[str], *, quick: bool, peers: bool, seconds: float, json_path: str | None) -> int:
    """Measure and print, times the peers' speed; 1 if a result was wrong or a target missed."""
    from benchmarks.names import choose

    rust = None
    if peers:
        try:
            import tokenizers as rust
        except ImportError:
            pass
    chosen = choose(every(quick), names)
    rows, failed = [], False
    row = "{:32}  {:>18}  {:>18}  {:>7}  {}"
    print(row.format("case", "tiktoken", "tokenizers", "MB/s", "target"))
    for case in chosen:
        result = measure(case, peers if case.subject == "bpe" else rust, seconds=seconds, quick=quick)
        rate = case.moved / float(np.median(result.seconds)) / 1e6 if case.moved and result.seconds else None
        against = "tiktoken" if case.subject == "bpe" else "tokenizers"
        reached = None
        if result.target and against in result.ratios:
            reached = result.ratios[against].median >= result.target
        columns = [show(result.ratios.get(name)) for name in ("tiktoken", "tokenizers")]
        verdict = f"{result.target:g} x {against}: {'reached' if reached else 'missed'}" if reached is not None else ""
        print(row.format(case.name, *columns, f"{rate:.1f}" if rate else "", result.error or verdict).rstrip(), flush=True)
        rows.append({"name": case.name, "ratios": {name: tuple(ratio) for name, ratio in result.ratios.items()}, "MB/s": rate})
        failed |= bool(result.error)
    print("\nRatios: how many times as fast minilm is, the median of interleaved rounds and its quartiles.")
    if json_path:
        with open(json_path, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
    return int(failed)
