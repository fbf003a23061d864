"""Files of others, changed at random: each reader gives a result, or ValueError or OSError in one line, and takes little for it.

Bytes are changed, and values of JSON and of TOML; in a folder with checksums these are made to fit again, as who plants a file
would. Whatever is refused only because so much memory is not there, or after a long time, fails.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import random
import shutil
import sys
import time

import numpy as np
import pytest

from minilm import checksums
from minilm.training.state import checksum
from tests.data.test_damaged_files import mutated
from tests.strangers import READERS

TIMES = 40  # for each file
SECONDS = 5  # of the processor, for one reading
MEMORY = 3 << 30  # bytes of address space beyond what the process has

# What stands in the place of a value: raw, since some of it is not what Python would write.
STRANGE = ["null", "true", "-1", "0", "1.5", "1e999", "-1e999", "NaN", "2147483648", "9" * 30, "9" * 400, "9" * 5000, '""', '"x"']
STRANGE += ["[]", "{}", "[[]]", '{"a": 1}', '"\\ud800"', '"\\u0000"', '"\\u202e/../x"', '"../../etc/passwd"', "[1, 2, 3]"]
STRANGE += ["[" * 400 + "]" * 400, '{"a":' * 400 + "1" + "}" * 400, "[" * 100_000, '[["a", "b"]]', '{"type": "Sequence"}']


def nodes(value, path=()):
    """The path to every value inside a JSON value."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from nodes(each, (*path, key))


def rewritten(rng: random.Random, content: bytes) -> bytes:
    """JSON with a value, a key or a few of them changed."""
    whole = json.loads(content)
    marks = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        paths = list(nodes(whole))
        if not paths:
            break
        *above, last = rng.choice(paths)
        parent = functools.reduce(lambda value, key: value[key], above, whole)
        kind = rng.randrange(8)
        if kind == 0:
            del parent[last]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(("", "x", "type", "__class__", "a" * 300))] = parent.pop(last)
        elif kind == 2:
            *other, key = rng.choice(paths)
            with contextlib.suppress(KeyError, IndexError, TypeError):
                parent[last] = functools.reduce(lambda value, key: value[key], (*other, key), json.loads(content))
        else:
            mark = f"@{len(marks)}@"
            parent[last] = mark
            marks.append((json.dumps(mark), rng.choice(STRANGE)))
    text = json.dumps(whole)
    for mark, raw in marks:
        text = text.replace(mark, raw)
    return text.encode()


def changed(rng: random.Random, name: str, content: bytes) -> bytes:
    """The content of a file, changed in one way or another."""
    if name.endswith(".json") and rng.random() < 0.75:
        return rewritten(rng, content)
    if content[8:9] == b"{" and rng.random() < 0.6:  # a safetensors file's header
        size = int.from_bytes(content[:8], "little")
        header = rewritten(rng, content[8 : 8 + size])
        return len(header).to_bytes(8, "little") + header + content[8 + size :]
    return mutated(np.random.default_rng(rng.getrandbits(32)), content)


@contextlib.contextmanager
def little_memory():
    """A MemoryError where much more is asked for."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


STATES = ("training.json", "recipe.json")


def sealed_again(folder: pathlib.Path) -> None:
    """Make the checksums of a run fit what its files are now, where its state can be read."""
    for path in (folder / name for name in STATES if (folder / name).exists()):
        try:
            state = json.loads(path.read_bytes())
            for name in state["files"]:
                content = (folder / name).read_bytes()
                state["files"][name].update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            del state["sha256"]
            path.write_text(json.dumps({**state, "sha256": checksum(state)}))
        except (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError):
            pass


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_a_result_or_one_line(name, tmp_path):
    make, read = READERS[name]
    folder, whole = tmp_path / "folder", tmp_path / "whole"
    folder.mkdir()
    make(folder)
    shutil.copytree(folder, whole)
    read(folder)
    rng, refused, times = random.Random(name), 0, int(os.environ.get("MINILM_FUZZ", TIMES))
    for path in read_files(folder, name):
        refused += sum(read_changed(read, folder, whole, path, rng) for _ in range(times))
    assert refused >= times // 4 or name in TOLERANT


TOLERANT = ("kernel", "checksums")  # the one is compiled anew, the other tells of a fault in what it returns


CRASHERS = {  # what fuzzing brought up: reader, file, what was there, what stands there now
    "a rank of 400 digits": ("tiktoken's ranks", "cl100k_base.tiktoken", b"dGg= 256", b"dGg= " + b"9" * 400),
    "a rank that fills the memory": ("tiktoken's ranks", "cl100k_base.tiktoken", b"dGg= 256", b"dGg= 256999999"),
    "a name with a line end": ("GGUF", "model.gguf", b"output_norm.weight\x01", b"output_nor\n\x01\x00\x00\x00\x00\x00\x00\x00"),
}


@pytest.mark.parametrize("label", CRASHERS)
def test_what_fuzzing_brought_up(label, tmp_path):
    name, file, before, now = CRASHERS[label]
    make, read = READERS[name]
    make(tmp_path)
    content = (tmp_path / file).read_bytes()
    assert before in content
    (tmp_path / file).write_bytes(content.replace(before, now))
    assert read_one(read, tmp_path, label)


def read_files(folder, name):
    """The files of a folder that a reader looks at."""
    for path in sorted(folder.iterdir()):
        shown_only = path.suffix in (".png", ".txt") and path.name not in ("merges.txt", "vocab.txt")
        if not shown_only and (path.name != checksums.SUMS or name == "checksums"):
            yield path


def read_changed(read, folder, whole, path, rng) -> bool:
    """Change one file, read, and put it back; whether it was refused."""
    content = path.read_bytes()
    new = changed(rng, path.name, content)
    path.write_bytes(new)
    try:
        if rng.random() < 0.8:
            sealed_again(folder)
        return read_one(read, folder, f"{path.name} of {new[:3000]!r}")
    finally:
        for each in STATES:
            if (whole / each).exists():
                shutil.copy(whole / each, folder)
        path.write_bytes(content)


def read_one(read, folder, which) -> bool:
    """Whether what was read is refused."""
    begin = time.process_time()
    try:
        with little_memory():
            read(folder)
        return False
    except (ValueError, TypeError, OSError) as error:
        text = str(error)
        assert text and "\n" not in text and len(text) < 20_000, f"{which}: {error!r}"
        return True
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error} for {which}") from error
    finally:
        spent = time.process_time() - begin
        assert spent < SECONDS, f"{spent:.1f} s for {which}"
