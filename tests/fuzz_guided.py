"""Readers on files that coverage leads to, by atheris: ``python -m tests.fuzz_guided --seconds 300 squad``.

The readers are those of `tests.fuzz`. libFuzzer changes the right files and keeps what runs new lines of minilm's readers; the
first byte of an input says which file of a folder it stands for. What is not a result, nor a ValueError, TypeError or OSError in
one line, ends it with a traceback, and the input is kept in --out.
"""

from __future__ import annotations

import argparse
import atexit
import os
import pathlib
import shutil
import sys
import tempfile
import warnings

# Modules that read files and hold no kernels: a kernel whose bytecode is instrumented does not compile.
READING = [f"minilm.data.{name}" for name in ("lines", "manifest", "pairs", "token_files", "shards")]
READING += [f"minilm.recipes.{name}" for name in ("conll", "folder", "labelled", "squad", "state", "stories")]
READING += [f"minilm.tokenizers.{name}" for name in ("config_files", "files", "bpe.hugging_face", "bpe.tiktoken_files")]
READING += [f"minilm.training.{name}" for name in ("checkpoint", "publish", "replay", "run", "settings", "state", "trace")]
READING += ["minilm.weights", "minilm.files", "minilm.checksums", "minilm.models.vector_files", "minilm.models.storing"]
READING += ["minilm.sequential.hdf5", "minilm.sequential.saving", "minilm.tokenizers.word_piece.hugging_face"]


def main() -> int:
    """Fuzz one reader."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_guided", description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="a reader of tests.fuzz")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--out", default=tempfile.gettempdir(), metavar="FOLDER", help="for an input that is read wrongly")
    args = parser.parse_args()
    try:
        import atheris
    except ImportError:
        parser.error("atheris is not installed: pip install atheris; tests.fuzz does without it")
    with atheris.instrument_imports(include=READING):
        from tests import fuzz
    warnings.simplefilter("ignore")
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)  # libFuzzer ends the process itself
    if args.name in fuzz.files.LOADERS:
        subject, seeds = fuzz.File(args.name, scratch / "file"), [b"\0" + fuzz.files.LOADERS[args.name][0]]
        paths, read = [subject.path], lambda which: fuzz.folders.read_one(subject.read, subject.path, which)
    else:
        subject = fuzz.Folder(args.name, scratch)
        paths = list(fuzz.folders.read_files(subject.folder, args.name))
        seeds = [bytes([place]) + path.read_bytes() for place, path in enumerate(paths)]
        read = lambda which: _read_folder(fuzz, subject, which)  # noqa: E731

    def once(data: bytes) -> None:
        path = paths[data[0] % len(paths)] if data else paths[0]
        whole = path.read_bytes() if path.exists() else b""
        path.write_bytes(data[1:])
        try:
            read(f"{path.name} of {data[:3000]!r}")
        finally:
            path.write_bytes(whole)

    corpus = scratch / "corpus"
    corpus.mkdir()
    for place, seed in enumerate(seeds):
        (corpus / str(place)).write_bytes(seed)
    longest = 4 * max(map(len, seeds))
    options = [f"-max_total_time={args.seconds}", f"-max_len={longest}", f"-artifact_prefix={os.path.join(args.out, '')}"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], once)
    atheris.Fuzz()
    return 0


def _read_folder(fuzz, subject, which: str) -> None:
    """Read with checksums that fit again, and put them back."""
    states = {name: (subject.folder / name).read_bytes() for name in fuzz.folders.STATES if (subject.folder / name).exists()}
    fuzz.folders.sealed_again(subject.folder)
    try:
        fuzz.folders.read_one(subject.read, subject.folder, which)
    finally:
        for name, content in states.items():
            (subject.folder / name).write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
