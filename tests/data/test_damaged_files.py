"""Loaders of data on damaged files: drawn mutations of a small right file give a result, or ValueError or OSError in one line."""

import gzip
import io
import json
import warnings
import zipfile

import numpy as np
import pytest

from minilm import data, planner
from minilm.data import lines, manifest, pairs
from minilm.models.word_vectors import WordVectors
from minilm.recipes import conll, labelled, squad, stories, vector_quality
from minilm.recipes.answer import Answer
from minilm.weights import torch_file as torch_files

TIMES = 150

ENTRY = {"name": "a", "file": "a.txt", "url": "http://a", "bytes": 3, "sha256": "00", "licence": "x", "kind": "text",
         "description": "y"}  # fmt: skip
SQUAD = json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "Anna is in the attic.", "qas": [
    {"id": "1", "question": "Where?", "answers": [{"text": "attic", "answer_start": 15}]},
    {"id": "2", "question": "Who?", "answers": [{"text": "Anna", "answer_start": 0}]}]}]}]}, indent=1).encode()  # fmt: skip
BABI = b"1 Mary moved to the attic.\n2 John went there.\n3 Where is Mary? \tattic\t1\n1 A b.\n2 C?\tb\t1\n"
NUMBERS = np.arange(6, dtype="<f4").tobytes()


def npy() -> bytes:
    from minilm.data.token_writer import header

    return header(np.dtype("<u2"), 20) + np.arange(20, dtype="<u2").tobytes()


def torch_file() -> bytes:
    from minilm.weights import torch_writer

    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        arrays = {"w": np.arange(6, dtype="<f4").reshape(2, 3), "b": np.arange(2)}
        archive.writestr("x/data.pkl", torch_writer._pickled(arrays))
        for number, array in enumerate(arrays.values()):
            archive.writestr(f"x/data/{number}", array.tobytes())
    return memory.getvalue()


def read_torch(path):
    return {name: tensor.numpy() for name, tensor in torch_files.arrays_of(torch_files.read_torch_file(path)).items()}


# name -> (a right file, what reads it)
LOADERS = {
    "manifest": (json.dumps({"corpora": [ENTRY, {**ENTRY, "name": "b", "url": None}]}).encode(), manifest._manifest),
    "token file": (npy(), data.load_tokens),
    "text": ("naïve text\r\n".encode() * 5, lambda path: "".join(data.text(path))),
    "lines": ("\ufeffeins\nzwei\n".encode(), lambda path: [line.text for line in lines.lines(path)]),
    "packed lines": (gzip.compress(b"eins\nzwei\n" * 5), lambda path: [line.text for line in lines.lines(path)]),
    "packed text": (gzip.compress(b"eins\nzwei\n" * 5), lines.whole_text),
    "pairs": (b"eins\tone\nzwei\ttwo\n", pairs.read_file),
    "pairs of fixed width": (b"16+75  _91  \n52+607 _659 \n", pairs.read_file),
    "columns": (b"a\tb\tc\nd\te\tf\n", lambda path: pairs.read_file(path, columns=(1, 3))),
    "labelled": (b"id\tsentence\tlabel\n" + b"1\tgood film\t1\n2\tbad film\t0\n" * 6, labelled.read),
    "conll": (b"-DOCSTART- -X- O\n\n" + b"Ada NNP B-PER\nL. NNP I-PER\nran VB O\n\n" * 11, conll.read),
    "conll with numbers": (b"# text\n" + b"1\tAda\tB-PER\tO\n2\tran\tO\tO\n\n" * 11, lambda path: conll.read(path, tag_column=3)),
    "babi": (BABI, stories.read_babi),
    "squad": (SQUAD, squad.read_squad),
    "answer": (SQUAD, lambda path: Answer().read(path)),
    "answer, a story": (BABI * 6, lambda path: Answer(model="reader").read(path)),
    "questions": (b": capitals\nparis france rome italy\nberlin germany rome italy\n", vector_quality.read_questions),
    "vectors, text": (b"3 2\nthe 0.1 0.2\nof 1e-3 -4\ncat 5 6\n", WordVectors.load),
    "vectors, GloVe": (b"the 0.1 0.2\nof 1e-3 -4\ncat 5 6\n", WordVectors.load),
    "vectors, binary": (b"2 3\nthe " + NUMBERS[:12] + b"\nof " + NUMBERS[12:] + b"\n", WordVectors.load),
    "vectors, packed": (gzip.compress(b"2 1\nthe 0.1\nof 0.2\n"), WordVectors.load),
    "torch file": (torch_file(), read_torch),
    "counts of a text": (b"a text\n\nof two\n", lambda path: planner.data_of("language-model", path)),
    "counts of questions": (SQUAD, lambda path: planner.data_of("answer", path)),
}


WORDS = [b"null", b"-1", b"1e999", b"[", b"{}", b"true", b'"x"', "²".encode(), b"\xef\xbb\xbf"]


def mutated(rng, content: bytes) -> bytes:
    """A right file with one thing changed, or a few."""
    for _ in range(rng.integers(1, 4)):
        start = int(rng.integers(len(content) + 1))
        stop = min(len(content), start + int(rng.integers(1, 9)))
        some = bytes(rng.integers(0, 256, int(rng.integers(1, 5)), dtype=np.uint8))
        piece = (
            some,  # instead of what is there
            some + content[start:stop],  # before it
            b"",
            content[start:stop] * 3,
            bytes([rng.choice(list(b"\t\n\r \"{}[]:,0-'()_\xff\x00"))]),
            b"9" * int(rng.integers(1, 6000)),
            WORDS[rng.integers(len(WORDS))],
        )[rng.integers(7)]
        content = content[:start] + piece + content[stop:]
        if rng.random() < 0.1:
            content = content[:start]
    return content


@pytest.mark.parametrize("name", LOADERS)
def test_a_result_or_one_line(tmp_path, name):
    content, load = LOADERS[name]
    path = tmp_path / ("data.json" if name in ("answer", "counts of questions") else "data")
    path.write_bytes(content)
    assert load(path) is not None
    rng, refused = np.random.default_rng(len(name)), 0
    for _ in range(TIMES):
        path.write_bytes(mutated(rng, content))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load(path)
        except (ValueError, OSError) as error:
            refused += 1
            assert "\n" not in str(error) and str(error), repr(error)
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error} of {path.read_bytes()!r}")
    assert refused >= TIMES // 50


DAMAGED_HEADERS = [
    b"{'descr': '<u2', 'fortran_order': False, 'shape': (20,), ",
    b"{'descr': '<u2', 'fortran_order': False, 'shape': (20, }",
    b"{'descr': '<u2', 'fortran_order': False, 'shape': (%s,), }" % (b"9" * 40),
    b"(" * 100,
    b"'''",
    b"{'descr': [], 'fortran_order': False, 'shape': (20,), }",
    b"{'descr': '<u2', 'fortran_order': False, 'shape': (-20,), }",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (20,), }",
]


@pytest.mark.parametrize("header", DAMAGED_HEADERS)
def test_headers_of_token_files(tmp_path, header):
    path = tmp_path / "a.npy"
    path.write_bytes(npy()[:10] + header.ljust(117) + b"\n" + npy()[128:])
    with pytest.raises(ValueError, match=r"a\.npy is not a .*token file") as caught:
        data.load_tokens(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[]", "expected a JSON object, got list"),
        (b"{}", "'corpora' must be a list, got NoneType"),
        (b'{"corpora": [5]}', r"corpora\[0\]: wanted an object, got int"),
        (json.dumps({"corpora": [{**ENTRY, "bytes": "3"}]}).encode(), r"corpora\[0\]: bytes must be a number, got '3'"),
        (json.dumps({"corpora": [{"name": "a"}]}).encode(), r"corpora\[0\]: wanted name, file, .*, got name;"),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, monkeypatch, content, says):
    (tmp_path / "manifest.json").write_bytes(content)
    monkeypatch.setattr(manifest, "builtin_folder", lambda: str(tmp_path))
    manifest.corpora.cache_clear()
    try:
        with pytest.raises(ValueError, match=rf"manifest\.json: {says}"):
            data.corpora()
    finally:
        manifest.corpora.cache_clear()
