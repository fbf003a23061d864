"""`minilm generate`, `evaluate`, `try` and `explain` of an encoder-decoder that `minilm convert` wrote."""

import json

import numpy as np
import pytest

from minilm import cli, models, quantized, recipes
from minilm.data.pairs import Pair

LETTERS = ["<pad>", "<unk>", "</s>", "a", "b", "c"]
PHONEMES = ["<pad>", "<unk>", "<s>", "</s>", "AA", "BB", "CC"]
H, E = 6, 5


@pytest.fixture
def folder(tmp_path, capsys):
    """A converted model of g2p_en's format, of random weights."""
    rng = np.random.default_rng(2)
    shapes = {
        f"{side}_{name}": shape for side in ("enc", "dec") for name, shape in {"w_ih": (3 * H, E), "w_hh": (3 * H, H)}.items()
    }
    shapes |= {f"{side}_b_{of}": (3 * H,) for side in ("enc", "dec") for of in ("ih", "hh")}
    shapes |= {"enc_emb": (6, E), "dec_emb": (7, E), "fc_w": (7, H), "fc_b": (7,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["fc_b"][:] = [-9, -9, -9, -1, 1, 1, 1]  # it writes phonemes
    np.savez(tmp_path / "m.npz", **arrays)
    (tmp_path / "vocab.json").write_text(json.dumps({"graphemes": LETTERS, "phonemes": PHONEMES}))
    assert cli.main(["convert", str(tmp_path / "m.npz"), str(tmp_path / "g2p")]) == 0
    capsys.readouterr()
    return str(tmp_path / "g2p")


def by_hand(folder, letters, tokens):
    """The greedy target, step by step: its tokens, and the log probability of each."""
    pairs = recipes.open_run(folder)
    source, target = pairs.vocabularies["source"], pairs.vocabularies["target"]
    ids = [source.token_to_id(token) for token in [*letters, "</s>"]]
    state, token, written = pairs.model.encode(np.array([ids])), "<s>", []
    for _ in range(tokens):
        logits, state = pairs.model.step(np.array([target.token_to_id(token)]), state)
        token = target.vocabulary[int(logits[0].argmax())]
        if token == "</s>":
            break
        written.append(token)
    return written


def run(capsys, *words):
    status = cli.main([*map(str, words)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_target_is_written_from_its_source(folder, capsys):
    wanted = " ".join(by_hand(folder, "abca", 20))
    assert len(wanted) > 2
    for words in (["generate", folder, "--prompt", "abca"], ["generate", "--weights", folder, "--prompt", "a b c a"]):
        assert run(capsys, *words)[:2] == (0, f"{wanted}\n")
    assert run(capsys, "try", folder, "abca")[1] == run(capsys, "generate", folder, "--prompt", "abca")[1]
    short = run(capsys, "generate", folder, "--prompt", "abca", "--tokens", "2")[1].split()
    assert short == by_hand(folder, "abca", 2)
    status, out, _ = run(capsys, "generate", folder, "--prompt", "abca", "--beam", "3", "--samples", "2", "--json")
    best, second = json.loads(out)["texts"]
    assert status == 0 and best["log_probability"] >= second["log_probability"]


def test_the_loss_of_pairs_is_that_of_each_alone(folder, tmp_path, capsys):
    """Also what is shorter than the longest of the batch, and counts no padding."""
    pairs, model = [("abca", "AA BB CC AA"), ("b", "BB"), ("cc", "CC AA")], recipes.open_run(folder)
    (tmp_path / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs))
    total = count = 0
    for source, target in pairs:
        x = np.array([[model.vocabularies["source"].token_to_id(token) for token in [*source, "</s>"]]])
        y = np.array([[model.vocabularies["target"].token_to_id(token) for token in ["<s>", *target.split(), "</s>"]]])
        total += float(model.model.loss(x, y[:, :-1], y[:, 1:])) * (y.shape[1] - 1)
        count += y.shape[1] - 1
    status, out, _ = run(capsys, "evaluate", folder, "--corpus", tmp_path / "pairs.tsv", "--json")
    result = json.loads(out)
    assert status == 0 and result["tokens"] == count and result["loss"] == pytest.approx(total / count, rel=1e-5)
    written = model.answer("abca")
    (tmp_path / "own.tsv").write_text(f"abca\t{written}\nb\tAA AA AA\n")
    assert json.loads(run(capsys, "evaluate", folder, "--corpus", tmp_path / "own.tsv", "--json")[1])["exact"] == 0.5


def test_a_target_of_fixed_length_has_no_end(folder, tmp_path, capsys):
    """As the dates of Deep Learning from Scratch: eos_token_id is null, and nothing is counted in its place."""
    path = f"{folder}/generation_config.json"
    with open(path, encoding="utf-8") as file:
        rules = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**rules, "eos_token_id": None, "max_new_tokens": 3}, file)
    (tmp_path / "pairs.tsv").write_text("ab\tAA BB CC\nc\tCC AA BB\n")
    assert json.loads(run(capsys, "evaluate", folder, "--corpus", tmp_path / "pairs.tsv", "--json")[1])["tokens"] == 6
    assert len(run(capsys, "generate", folder, "--prompt", "ab")[1].split()) <= 3
    assert "(end)" not in run(capsys, "explain", folder, "--text", "ab", "--answer", "AA BB", "--out", tmp_path / "e.html")[1]


def test_a_target_is_explained(folder, tmp_path, capsys):
    words = ["explain", "--weights", folder, "--text", "ab", "--answer", "AA BB", "--foil", "AA CC", "--out", tmp_path / "e.html"]
    status, out, _ = run(capsys, *words)
    assert status == 0 and "log p(BB) − log p(CC)" in out and (tmp_path / "e.html").exists()


@pytest.mark.parametrize("kind", ["int8", "bf16"])
def test_weights_in_fewer_bits(folder, kind, tmp_path, capsys):
    """By --quantize, and in a folder of their own: the model that `quantized.quantize` makes, in all three commands."""
    (tmp_path / "pairs.tsv").write_text("abca\tAA BB CC AA\nb\tBB\n")
    pairs, out = recipes.open_run(folder), tmp_path / "small"
    quantized.quantize(pairs.model, kind)
    assert run(capsys, "export", folder, out, f"--{kind}")[0] == 0
    for options in ((folder, "--quantize", kind), (out,)):
        assert run(capsys, "generate", *options, "--prompt", "abca") == (0, pairs.answer("abca") + "\n", "")
        assert run(capsys, "try", *options, "abca") == (0, pairs.answer("abca") + "\n", "")
        result = json.loads(run(capsys, "evaluate", *options, "--corpus", tmp_path / "pairs.tsv", "--json")[1])
        assert result["loss"] == pairs.measure([Pair("abca", "AA BB CC AA"), Pair("b", "BB")]).loss
    assert result["loss"] != recipes.open_run(folder).measure([Pair("abca", "AA BB CC AA"), Pair("b", "BB")]).loss
    assert run(capsys, "explain", out, "--text", "ab", "--out", tmp_path / "e.html")[0] == 2
    models.save(pairs.model, tmp_path / "model.safetensors")
    ids = np.array([[3, 4, 5]])
    again = models.load(tmp_path / "model.safetensors")
    assert np.array_equal(again.logits(ids, ids), pairs.model.logits(ids, ids))


def test_the_rules_go_with_the_folder(folder, tmp_path, capsys):
    assert run(capsys, "convert", folder, tmp_path / "again")[0] == 0
    assert run(capsys, "try", tmp_path / "again", "cab")[1] == run(capsys, "try", folder, "cab")[1]


def test_what_is_refused_in_one_line(folder, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("a text\n")
    (tmp_path / "unknown.tsv").write_text("a?\ta\n")
    for words, message in [
        (("generate", folder), "--prompt TEXT is missing: the source"),
        (("generate", folder, "--prompt", ""), "the source is empty"),
        (("generate", folder, "--prompt", "a?"), "word '?' is not in the vocabulary"),
        (("generate", folder, "--prompt", "a", "--temperature", "0.5"), "--temperature is for a text that is drawn"),
        (("generate", folder, "--prompt", "a", "--samples", "2"), "the best targets of a search: --beam B"),
        (("evaluate", folder), "--corpus FILE is missing"),
        (("evaluate", folder, "--corpus", tmp_path / "text.txt"), "no tab and no"),
        (("evaluate", folder, "--corpus", tmp_path / "unknown.tsv"), f"{tmp_path / 'unknown.tsv'}: "),
        (("evaluate", folder, "--corpus", tmp_path / "text.txt", "--lines"), "--lines is for language models"),
    ]:
        status, out, err = run(capsys, *words)
        assert status == 2 and message in err and len(err.splitlines()) == 1 and not out, (words, err)
