"""The texts that tokenizers are timed on: what people wrote, and letters drawn at random, each named for what it is.

Real texts come from the folder that the environment variable MINILM_TEST_CORPORA names, as far as they are there: paragraphs and
questions of question answering in many languages, in SQuAD's JSON (`QUESTIONS`), and `FILES`. Code is Python's own library and
the stories are minilm's, so both are there always. Drawn letters have more pieces that no tokenizer has seen than texts have,
and other lengths of words: they stand beside the texts, not for them.
"""

from __future__ import annotations

import glob
import gzip
import json
import os
import sysconfig
from collections.abc import Iterator

import numpy as np

from benchmarks.corpora import FOLDER
from minilm import data

FILES = {"tinyshakespeare": "tinyshakespeare.txt", "German of Multi30k": "multi30k/train.de.gz"}  # name -> where in the folder
_XQUAD = {
    **{"Arabic": "ar", "Chinese": "zh", "English": "en", "German": "de", "Greek": "el", "Hindi": "hi", "Russian": "ru"},
    **{"Thai": "th", "Turkish": "tr", "Vietnamese": "vi"},
}
QUESTIONS = {  # name -> files in the folder
    **{f"{language} of XQuAD": f"xquad/xquad.{code}.json" for language, code in _XQUAD.items()},
    "Japanese of JaQuAD": "jaquad/jaquad_dev_*.json",
    "Korean of KorQuAD": "korquad/KorQuAD_v1.0_dev.json",
}
SCRIPTS = {  # name -> first and last letter, letters a word, what stands between words
    "Chinese": (0x4E00, 0x5200, 0, "。,\n"),
    "Japanese": (0x3041, 0x3096, 0, "、。\n"),
    "Thai": (0x0E01, 0x0E2E, 12, " "),
    "Korean": (0xAC00, 0xB000, 3, " "),
    "Arabic": (0x0621, 0x064A, 6, " "),
    "Hindi": (0x0905, 0x0939, 5, " "),
    "Cyrillic": (0x0430, 0x044F, 6, " "),
}


def written(size: int) -> dict[str, str]:
    """Texts that people wrote (of the stories, the sentences that they are made of), at most `size` characters each."""
    texts = {"stories": "".join(data.text("stories")) * 10, "code of Python's library": _library(size)}
    folder = os.environ.get(FOLDER, "")
    for name, file in FILES.items() if folder else ():
        path = os.path.join(folder, file)
        if os.path.exists(path):
            with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as text:
                texts[name] = text.read()
    for name, files in QUESTIONS.items() if folder else ():
        paths = sorted(glob.glob(os.path.join(glob.escape(folder), files)))
        if paths:
            texts[name] = "\n".join(line for path in paths for line in _paragraphs(path))
    return {name: text[:size] for name, text in texts.items()}


def drawn(size: int) -> dict[str, str]:
    """Texts drawn letter by letter, at most `size` characters each."""
    texts = {}
    for name, (first, last, length, between) in SCRIPTS.items():
        texts[f"{name} letters drawn"] = _drawn([chr(code) for code in range(first, last + 1)], length, between, size)
    rng = np.random.default_rng(0)
    texts["emoji drawn"] = "".join(rng.choice([*map(chr, range(0x1F600, 0x1F650)), " ", "a", "\u200d"], size // 4))
    return {name: text[:size] for name, text in texts.items()}


def _library(size: int) -> str:
    """The modules of Python's library, one after the other by name, up to `size` characters."""
    text = ""
    for path in sorted(glob.glob(os.path.join(glob.escape(sysconfig.get_path("stdlib")), "*.py"))):
        if len(text) >= size:
            break
        with open(path, encoding="utf-8", errors="replace") as source:
            text += source.read()
    return text


def _paragraphs(path: str) -> Iterator[str]:
    """Every paragraph of a file of SQuAD's format, and the questions about it behind it."""
    with open(path, encoding="utf-8") as file:
        articles = json.load(file)["data"]
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        yield paragraph["context"]
        yield from (question["question"] for question in paragraph["qas"])


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
