"""`minilm tokenizer`."""

import io
import json
import sys
import types

import pytest

from minilm import cli, tokenizers
from minilm.tokenizers.bpe import patterns

TEXT = "The cat sat on the mat.\nThe dog sat, too.\n"


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.fixture
def minilm(capsys):
    def run(*words):
        status = cli.main(["tokenizer", *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def trained(tmp_path, corpus, minilm):
    """kind -> the file of a tokenizer trained on the text."""
    for kind, options in (
        ("character", []),
        ("word", ["--vocab-size", "7", "--lower"]),
        ("wordpiece", ["--no-lower", "--min-count", "1"]),
        ("bpe", ["--vocab-size", "270", "--special", "<s>", "<|endoftext|>"]),
        ("keras", ["--oov", "<oov>"]),
    ):
        assert minilm("train", "--kind", kind, "--corpus", corpus, "--out", tmp_path / f"{kind}.json", *options)[0] == 0
    return {kind: tmp_path / f"{kind}.json" for kind in ("character", "word", "wordpiece", "bpe", "keras")}


@pytest.fixture
def stdin(monkeypatch):
    def give(content: bytes):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content), read=lambda: content.decode()))

    return give


def test_train_is_what_the_library_trains(trained):
    assert tokenizers.load(trained["character"]) == tokenizers.Character(TEXT)
    assert tokenizers.load(trained["word"]) == tokenizers.WordLevel.train_from_chunks(TEXT, vocab_size=7, lower=True)
    assert tokenizers.load(trained["wordpiece"]) == tokenizers.WordPiece.train_from_chunks(TEXT, lower=False, min_count=1)
    special = ("<s>", "<|endoftext|>")
    bpe = tokenizers.ByteLevelBPE.train_from_chunks(TEXT, vocab_size=270, special_tokens=special)
    assert tokenizers.load(trained["bpe"]) == bpe and bpe.special_tokens == special
    keras = tokenizers.Word(oov_token="<oov>")
    keras.fit_on_texts([TEXT])
    assert tokenizers.load(trained["keras"]).word_index == keras.word_index


def test_options_of_training(tmp_path, corpus, minilm):
    out = tmp_path / "new" / "folder" / "tokenizer.json"
    options = "--vocab-size", "270", "--pattern", "qwen2"
    assert minilm("train", "--kind", "bpe", "--corpus", corpus, "--out", out, *options)[0] == 0
    assert tokenizers.load(out).pattern == patterns.NAMED["qwen2"]
    assert (
        minilm("train", "--kind", "word", "--corpus", corpus, "--out", out, "--eos", "", "--split", "spaces", "--unk", "?")[0]
        == 0
    )
    word = tokenizers.load(out.parent)
    assert word.eos_token is None and word.split == "spaces" and word.unk_token == "?" and not word.lower
    assert minilm("train", "--corpus", corpus, corpus, "--out", out, "--vocab-size", "5", "--unk", "<unk>")[0] == 0
    assert tokenizers.load(out).vocab_size == 5
    assert minilm("train", "--kind", "keras", "--corpus", corpus, corpus, "--out", out, "--num-words", "4", "--no-lower")[0] == 0
    keras = tokenizers.load(out)
    assert keras.num_words == 4 and not keras.lower and keras.document_count == 2
    assert minilm("train", "--corpus", "stories", "--out", out)[0] == 0  # by its name
    assert "T" in tokenizers.load(out).vocabulary


@pytest.mark.parametrize("kind", ["character", "word", "wordpiece", "bpe", "keras"])
def test_encode_and_decode(kind, trained, minilm, stdin, corpus):
    tokenizer = tokenizers.load(trained[kind])
    text = "The cat sat"
    ids = tokenizer.texts_to_sequences([text])[0] if kind == "keras" else tokenizer.encode(text).tolist()
    back = tokenizer.sequences_to_texts([ids])[0] if kind == "keras" else tokenizer.decode(ids)
    line = " ".join(map(str, ids)) + "\n"
    assert minilm("encode", trained[kind], text) == (0, line, "")
    stdin(text.encode())
    assert minilm("encode", trained[kind]) == (0, line, "")
    assert json.loads(minilm("encode", trained[kind], text, "--json")[1]) == ids
    assert minilm("decode", trained[kind], *ids) == (0, back + "\n", "")
    for content in (line, json.dumps(ids)):
        stdin(content.encode())
        assert minilm("decode", trained[kind]) == (0, back + "\n", "")
    assert json.loads(minilm("decode", trained[kind], "--json", *ids)[1]) == back
    _, out, _ = minilm("encode", trained[kind], "--tokens", text)
    assert [int(row.split()[0]) for row in out.splitlines()] == ids
    assert minilm("encode", trained[kind], "--file", corpus)[1] == minilm("encode", trained[kind], TEXT)[1]


def test_a_file_is_encoded_in_pieces(trained, minilm, tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("The cat sat.\n" * 200_000)
    status, out, _ = minilm("encode", trained["word"], "--file", path)
    words = out.split(" ")
    assert status == 0 and len(words) == 5 * 200_000 and words[:5] * 200_000 == [word.strip() for word in words]
    assert len(json.loads(minilm("encode", trained["word"], "--file", path, "--json")[1])) == 5 * 200_000


def test_a_piece_without_a_token(trained, minilm, tmp_path):
    path = tmp_path / "spaces.txt"
    path.write_text(" " * (1 << 20) + "the cat" + " " * (1 << 20) + "sat")
    word = tokenizers.load(trained["word"])
    expected = " ".join(map(str, word.encode("the cat sat").tolist()))
    assert minilm("encode", trained["word"], "--file", path)[1] == expected + "\n"


def test_info(trained, minilm):
    status, out, _ = minilm("info", trained["character"])
    assert status == 0 and "Character" in out and "vocab_size" in out and repr(" ,.T")[1:-1] in out
    found = json.loads(minilm("info", trained["word"], "--json")[1])
    assert found["kind"] == "WordLevel" and found["vocab_size"] == 7 and found["special_tokens"] == {"<unk>": 0, "<eos>": 1}
    assert found["first"][0] == "the" and found["lower"] is True
    found = json.loads(minilm("info", trained["keras"], "--json")[1])
    assert found["kind"] == "Word" and found["oov_token"] == "<oov>" and found["first"][:2] == ["<oov>", "the"]


@pytest.mark.parametrize(
    "words, says",
    [
        (["encode", "CHARACTER", "xyz€"], "character 0: 'x' (U+0078) is not in the vocabulary"),
        (["encode", "CHARACTER", "a", "--file", "CORPUS"], "a TEXT or --file, not both"),
        (["encode", "nowhere.json", "a"], "nowhere.json: No such file or directory"),
        (["encode", "CORPUS", "a"], "not a tokenizer file"),
        (["encode", "CHARACTER", "--file", "nowhere.txt"], "nowhere.txt"),
        (["decode", "CHARACTER", "1", "two"], "ids must be whole numbers, got 'two' at position 1"),
        (["decode", "CHARACTER", "1", "999"], "ids must be in 0 ... 15, got 999 at position 1"),
        (["info", "CORPUS"], "not a tokenizer file"),
        (["train", "--corpus", "nowhere.txt", "--out", "OUT"], "nowhere.txt"),
        (
            ["train", "--corpus", "CORPUS", "--out", "OUT", "--num-words", "3"],
            "--num-words is for --kind keras, not for character",
        ),
        (
            ["train", "--corpus", "CORPUS", "--out", "OUT", "--kind", "word", "--oov", "x"],
            "--oov is for --kind keras, not for word",
        ),
        (["train", "--corpus", "CORPUS", "--out", "OUT", "--vocab-size", "3"], "vocab_size needs unk_token"),
        (["train", "--corpus", "INVALID", "--out", "OUT"], "invalid UTF-8 at byte 2"),
        (["train", "--corpus", "INVALID", "--out", "OUT", "--kind", "word"], "invalid UTF-8 at byte 2"),
        (["train", "--corpus", "CORPUS", "--out", "CORPUS/below/it"], "CORPUS/below"),
    ],
)
def test_mistakes(words, says, trained, corpus, minilm, tmp_path):
    (tmp_path / "invalid.txt").write_bytes(b"ab\xffcd")
    places = {
        "CHARACTER": trained["character"],
        "CORPUS": corpus,
        "INVALID": tmp_path / "invalid.txt",
        "OUT": tmp_path / "out.json",
    }

    def placed(text):
        for name, path in places.items():
            text = text.replace(name, str(path))
        return text

    status, out, err = minilm(*map(placed, words))
    assert status == 2 and not out and err.startswith("minilm: ") and err.count("\n") == 1
    assert placed(says) in err
    assert not places["OUT"].exists()


def test_invalid_utf8_may_be_replaced(trained, minilm, stdin, tmp_path):
    (tmp_path / "invalid.txt").write_bytes(b"ab\xffcd")
    assert minilm("train", "--corpus", tmp_path / "invalid.txt", "--out", tmp_path / "t.json", "--errors", "replace")[0] == 0
    assert "\ufffd" in tokenizers.load(tmp_path / "t.json").vocabulary
    stdin(b"a\xff")
    status, _, err = minilm("encode", tmp_path / "t.json")
    assert status == 2 and "standard input: invalid UTF-8 at byte 1 (0xff: invalid start byte)" in err
    stdin(b"a\xff")
    assert minilm("encode", tmp_path / "t.json", "--errors", "replace")[1] == "0 4\n"


def test_a_folder_with_a_vocabulary_and_merges(trained, minilm, tmp_path):
    """As GPT-2's was published, and as Hugging Face keeps it."""
    tokenizer = tokenizers.load(trained["bpe"])
    tokenizer.save_pretrained(tmp_path / "gpt2")
    (tmp_path / "gpt2" / "tokenizer.json").unlink()
    assert tokenizers.load(tmp_path / "gpt2") == tokenizer
    (tmp_path / "gpt2" / "tokenizer_config.json").unlink()  # which names the other special token
    (tmp_path / "gpt2" / "vocab.json").rename(tmp_path / "gpt2" / "encoder.json")
    (tmp_path / "gpt2" / "merges.txt").rename(tmp_path / "gpt2" / "vocab.bpe")
    status, out, _ = minilm("encode", tmp_path / "gpt2", "The naïve 😀<|endoftext|>")
    ids = tokenizer.encode("The naïve 😀<|endoftext|>").tolist()
    assert status == 0 and out.split() == list(map(str, ids)) and ids[-1] == 1
    assert minilm("decode", tmp_path / "gpt2", *ids)[1] == "The naïve 😀<|endoftext|>\n"
    status, out, _ = minilm("info", tmp_path / "gpt2", "--json")
    assert json.loads(out)["kind"] == "ByteLevelBPE" and json.loads(out)["special_tokens"] == {"<|endoftext|>": 1}
    (tmp_path / "gpt2" / "vocab.bpe").write_text("#version: 0.2\nab\n")
    status, out, err = minilm("encode", tmp_path / "gpt2", "a")
    assert status == 2 and out == "" and err.count("\n") == 1 and "vocab.bpe: merge 0 must be two tokens" in err
