"""Files that minilm wrote beside a checksum: every flipped byte of them is found."""

import os
import shutil
import subprocess
import warnings

import numpy as np
import pytest

from minilm import checksums, cli, data, models, tokenizers
from minilm.models.word_vectors import WordVectors


def weights(folder):
    model = models.GPT(models.GPTConfig(vocab_size=60, n_positions=8, n_embd=8, n_layer=1, n_head=2), seed=0)
    model.save_pretrained(folder)
    tokenizers.Character("abc").save(folder)
    return folder


def sharded(folder):
    from minilm.weights import keymap, saving  # noqa: F401

    model = models.GPT(models.GPTConfig(vocab_size=60, n_positions=8, n_embd=8, n_layer=1, n_head=2), seed=0)
    tokenizers.Character("abc").save(os.fspath(folder) + ".json")
    os.makedirs(folder)
    shutil.move(os.fspath(folder) + ".json", folder / "tokenizer.json")
    model.save_pretrained(folder)
    return folder


def token_file(folder):
    (folder.parent / "text.txt").write_text("a text of some words\n" * 20)
    text = data.text(folder.parent / "text.txt")
    data.tokens(text, tokenizers.Character.train_from_chunks(text), folder)
    return folder


def vectors(folder):
    os.makedirs(folder)
    WordVectors(["the", "of"], np.ones((2, 3), np.float32)).save_binary(folder / "vectors.bin")
    return folder


MADE = {each.__name__: each for each in (weights, sharded, token_file, vectors)}


@pytest.mark.parametrize("kind", MADE)
def test_every_flipped_byte_is_found(kind, tmp_path, capsys):
    folder = MADE[kind](tmp_path / "folder")
    assert cli.main(["verify", str(folder)]) == 0
    told = capsys.readouterr()
    assert told.err == "", "every file has a checksum"
    rng = np.random.default_rng(0)
    for name in os.listdir(folder):
        content = (folder / name).read_bytes()
        places = range(len(content)) if len(content) < 300 else rng.integers(0, len(content), 60)
        for place in places:
            wrong = bytearray(content)
            wrong[place] ^= 1 << int(rng.integers(8))
            (folder / name).write_bytes(wrong)
            status = cli.main(["verify", str(folder)])
            told = capsys.readouterr()
            assert status in (1, 2), (name, place)
            assert name in told.out + told.err or name.endswith((checksums.SUMS, checksums.SUFFIX))
        (folder / name).write_bytes(content)
    assert cli.main(["verify", str(folder)]) == 0


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_other_programs_read_them(tmp_path):
    weights(tmp_path / "folder")
    subprocess.run(["sha256sum", "--check", "--strict", checksums.SUMS], cwd=tmp_path / "folder", check=True, capture_output=True)


def test_a_tokenizer_that_comes_again(tmp_path):
    folder = weights(tmp_path / "folder")
    tokenizers.Character("abcd").save(folder / "tokenizer.json")
    assert cli.main(["verify", str(folder)]) == 0
    os.remove(folder / "tokenizer.json")
    assert cli.main(["verify", str(folder)]) == 1
    models.GPT(models.GPTConfig(vocab_size=60, n_positions=8, n_embd=8, n_layer=1, n_head=2), seed=1).save_pretrained(folder)
    assert cli.main(["verify", str(folder)]) == 0  # the new weights' own checksums


def test_what_has_none_is_refused(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.arange(5))
    assert cli.main(["verify", str(tmp_path / "a.npy")]) == 2
    assert "a.npy has no checksum: another program wrote it" in capsys.readouterr().err
    os.remove(tmp_path / "a.npy")
    assert cli.main(["verify", str(tmp_path)]) == 2
    assert "has no checksums: wanted a run, " in capsys.readouterr().err
    assert cli.main(["verify", str(tmp_path / "nothing")]) == 2
    assert "there is no file or folder" in capsys.readouterr().err
    assert cli.main(["verify", str(vectors(tmp_path / "v") / "vectors.bin")]) == 0
    assert cli.main(["verify", str(tmp_path / "v"), "--publish"]) == 2
    assert "--publish is for runs of `minilm train`" in capsys.readouterr().err


def test_a_file_that_is_no_file_gets_none(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checksums.record_beside("/dev/null")
    assert not os.path.exists("/dev/null.sha256")
