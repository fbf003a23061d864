"""Token files: whole or not there, mapped and not loaded."""

import contextlib
import errno
import os
import signal
import time
import tracemalloc

import numpy as np
import pytest

from minilm import data, files, tokenizers
from minilm.data import token_files, token_writer
from tests import clocks


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tokens"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("to be or not to be\n" * 1000)
    return path


def tokenizer_of(path):
    return tokenizers.Character.train(path)


def test_memory_and_file_hold_the_same(path, folder):
    tokenizer = tokenizer_of(path)
    expected = tokenizer.encode(path.read_text())  # (N,)
    memory, mapped = data.tokens(path, tokenizer), data.tokens(path, tokenizer, folder)
    for tokens in (memory, mapped):
        assert tokens.dtype == np.uint16 and not tokens.flags.writeable and type(tokens) is np.ndarray
        np.testing.assert_array_equal(tokens, expected)
    (name,) = os.listdir(folder)
    np.testing.assert_array_equal(np.load(folder / name, mmap_mode="r"), expected)
    assert isinstance(mapped.base, np.memmap)


def test_a_token_file_is_used_again_and_only_for_its_text(path, folder, monkeypatch):
    tokenizer = tokenizer_of(path)
    data.tokens(path, tokenizer, folder)
    with monkeypatch.context() as patch:
        patch.setattr(token_files, "write_token_file", None)  # encoding again would fail
        data.tokens(path, tokenizer, folder)
    other = tokenizers.Character(tokenizer.vocabulary, unk_token="?")
    data.tokens(path, other, folder)
    for part in data.text(path).split():
        data.tokens(part, tokenizer, folder)
    path.write_text("to be")
    assert data.tokens(path, tokenizer, folder).size == 5
    assert len(os.listdir(folder)) == 5


def test_large_vocabularies_get_four_bytes(path, folder):
    class Wide:
        vocab_size = (1 << 16) + 1

        def encode_chunks(self, chunks, source):
            yield np.array([65536, 1, 2], np.int64)

        def to_json(self):
            return "{}"

    for tokens in (data.tokens(path, Wide()), data.tokens(path, Wide(), folder)):
        assert tokens.dtype == np.int32 and tokens.tolist() == [65536, 1, 2]
    Wide.vocab_size = 65536
    with pytest.raises(ValueError, match="outside 0 ... 65535"):  # and not 0, as a cast to uint16 would have it
        data.tokens(path, Wide())


def test_errors_leave_nothing_behind(path, folder, monkeypatch):
    with pytest.raises(ValueError, match="text.txt, character 2: ' ' .* is not in the vocabulary"):
        data.tokens(path, tokenizers.Character("to"), folder)
    assert os.listdir(folder) == []
    tokenizer = tokenizer_of(path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device: .*text-.*npy"):
            data.tokens(path, tokenizer, folder)
    assert os.listdir(folder) == []
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="there is nothing in it to encode"):
        data.tokens(path, tokenizer, errors="ignore")


def wait_for_lock(folder):
    fcntl = pytest.importorskip("fcntl")
    (partial,) = folder.glob(".*.partial")
    end = time.monotonic() + clocks.PATIENCE
    with open(partial, "rb") as file:
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(0.01)
    raise AssertionError("a worker of a process that has ended still holds its lock")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_worker_that_is_killed_is_one_line_and_the_next_call_goes_on(path, folder, tmp_path, monkeypatch):
    path.write_text("to be or not to be\n" * 200_000)
    text, tokenizer = data.text(path), tokenizer_of(path)
    expected = np.array(data.tokens(text, tokenizer, tmp_path / "whole"))
    monkeypatch.setattr(token_writer, "SAVED", 1 << 20)
    real = tokenizers.Character._encode

    def killed(self, text, start, source):  # by a worker
        if start > 2 << 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, text, start, source)

    with monkeypatch.context() as patch:
        patch.setattr(tokenizers.Character, "_encode", killed)
        with pytest.raises(ChildProcessError, match="was killed, perhaps for want of memory; the next call goes on") as error:
            data.tokens(text, tokenizer, folder, processes=2)
    assert "\n" not in str(error.value) and list(folder.glob(".*.partial"))
    assert np.array_equal(data.tokens(text, tokenizer, folder, processes=2), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_killed_process_has_written_is_gone_on_with(path, folder, tmp_path, monkeypatch, processes):
    path.write_text("to be or not to be\n" * 200_000)
    text, tokenizer = data.text(path), tokenizer_of(path)
    expected = np.array(data.tokens(text, tokenizer, tmp_path / "whole"))
    monkeypatch.setattr(token_writer, "SAVED", 1 << 20)
    saves = []

    def dies(file, notes, progress, real=token_writer._save):
        real(file, notes, progress)
        saves.append(progress)
        if len(saves) == 2:
            os._exit(9)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(token_writer, "_save", dies)
        data.tokens(text, tokenizer, folder, processes=processes)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    wait_for_lock(folder)  # the workers end with their parent, a moment later
    assert sorted(name.rpartition(".")[2] for name in os.listdir(folder)) == ["partial", "progress"]
    (folder / f"{next(name for name in os.listdir(folder) if name.endswith('.progress'))}.next").write_text("{")
    monkeypatch.setattr(token_writer, "_save", lambda file, notes, progress: saves.append(progress))
    assert np.array_equal(data.tokens(text, tokenizer, folder, processes=processes), expected)
    assert saves[0].characters >= 3 << 20, "it began anew"
    (name,), (other,) = os.listdir(folder), os.listdir(tmp_path / "whole")
    assert name == other and (folder / name).read_bytes() == (tmp_path / "whole" / other).read_bytes()


@pytest.mark.parametrize(
    "wrong", ["{}", '{"characters": 9, "ids": 9, "sha256": "0"}', '{"characters": -1, "ids": -1, "sha256": ""}', "["]
)
def test_a_partial_file_that_its_notes_do_not_fit_is_begun_anew(path, folder, wrong):
    tokenizer = tokenizer_of(path)
    expected = np.array(data.tokens(path, tokenizer, folder))
    (name,) = os.listdir(folder)
    os.rename(folder / name, folder / f".{name}.partial")
    (folder / f".{name}.progress").write_text(wrong)
    assert np.array_equal(data.tokens(path, tokenizer, folder), expected) and os.listdir(folder) == [name]


def test_several_processes_give_the_same_file(path, folder, tmp_path):
    path.write_text("to be or not to be\n" * 200_000)
    tokenizer = tokenizer_of(path)
    one, two = (data.tokens(path, tokenizer, tmp_path / str(count), processes=count) for count in (1, 2))
    assert np.array_equal(one, two)
    with pytest.raises(ValueError, match="text.txt, character 2: ' ' .* is not in the vocabulary"):
        data.tokens(path, tokenizers.Character("to"), folder, processes=2)
    assert os.listdir(folder) == []


def test_damaged_files_are_named(path, folder):
    tokens = data.tokens(path, tokenizer_of(path), folder)
    (name,) = os.listdir(folder)
    content = (folder / name).read_bytes()
    del tokens
    for broken in (content[:-33], content[:60], content[:3], b"", b"x" * 500):
        (folder / name).write_bytes(broken)
        with pytest.raises(ValueError, match=f"{name} is not a whole token file"):
            data.load_tokens(folder / name)
    np.save(folder / "grid.npy", np.zeros((2, 2), int))
    np.save(folder / "reals.npy", np.zeros(2))
    for name in ("grid.npy", "reals.npy"):
        with pytest.raises(ValueError, match="wanted one axis of integers"):
            data.load_tokens(folder / name)


def test_a_changed_file_is_made_anew(path, folder):
    """Each of these is a right .npy file, of other ids or of fewer."""
    tokenizer = tokenizer_of(path)
    expected = np.array(data.tokens(path, tokenizer, folder))
    (name,) = os.listdir(folder)
    content = (folder / name).read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    shorter = content.replace(b"(19000,)", b"(9000,) ")
    assert shorter != content
    for changed in (bytes(flipped), shorter, content[:-1], content[:-40], content + b"x", content[:100], b""):
        (folder / name).write_bytes(changed)
        with pytest.warns(RuntimeWarning, match=f"{name} is damaged, and is made anew"):
            tokens = data.tokens(path, tokenizer, folder)
        np.testing.assert_array_equal(tokens, expected)
        assert (folder / name).read_bytes() == content
        del tokens


def test_a_map_is_not_loaded(tmp_path):
    """4 GiB of tokens, of which almost none are on the disk: batches from all over them, in a megabyte of memory."""
    path, count = tmp_path / "big.npy", 1 << 31
    with open(path, "wb") as file:
        file.write(token_writer.header(np.dtype("<u2"), count))
        try:
            file.truncate(token_writer.HEADER_BYTES + 2 * count)
        except OSError:
            pytest.skip("the file system has no sparse files")
    tracemalloc.start()
    try:
        tokens = data.load_tokens(path)
        for batches in (data.batches(tokens, 8, 64), data.batches(tokens, 8, 64, carried=True)):
            for step in (0, 1, 1000, batches.epoch_steps - 1):
                batches.batch(step)
        assert len(data.EvaluationBatches(tokens, 8, 64)) == batches.epoch_steps
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_encoding_takes_memory_for_a_piece_only(tmp_path, folder):
    path = tmp_path / "long.txt"
    with open(path, "w") as file:
        for _ in range(32):
            file.write("abcdefg\n" * (1 << 17))  # 32 MiB in all
    tokenizer = tokenizers.Character("abcdefg\n")
    tracemalloc.start()
    try:
        tokens = data.tokens(path, tokenizer, folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert tokens.size == 32 << 20
    assert peak < 24 << 20, f"{peak >> 20} MiB"


def test_written_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), files.written_whole(path) as file:
            file.write(b"half")
            raise error
        assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["file"]
    with files.written_whole(path) as file:
        file.write(b"after")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after" and os.listdir(tmp_path) == ["file"]
    with pytest.raises(FileNotFoundError, match="'.*nowhere.*file'"), files.written_whole(tmp_path / "nowhere" / "file"):
        pass


def test_bare_numbers_are_not_a_token_file(tmp_path):
    """As train.bin of other programs: nothing there is minilm's to make anew."""
    np.arange(1000, dtype=np.uint16).tofile(tmp_path / "train.bin")
    with pytest.raises(ValueError, match=r"train.bin is not a whole token file: .*numpy.fromfile\(FILE, \"uint16\"\)\)"):
        token_files.load_tokens(tmp_path / "train.bin")
