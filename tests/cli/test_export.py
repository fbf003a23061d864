"""`minilm export`: a folder in fewer bits does what --quantize does with the original, and no damaged one is read."""

import json
import os

import numpy as np
import pytest

from minilm import cli, interpret, models, quantized, recipes, tokenizers, training

TEXT = "the cat sat on the mat. the dog sat, too. a cat and a dog ate the fish on the mat.\n" * 12


def minilm(capsys, *words):
    status = cli.main([*map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def gpt(folder, tied=True):
    tokenizer = tokenizers.ByteLevelBPE.train_from_chunks(TEXT, vocab_size=290)
    sizes = {"n_embd": 72, "n_layer": 2, "n_head": 2, "n_positions": 64, "tie_word_embeddings": tied}
    model = models.GPT(models.GPTConfig.gpt2(**sizes, vocab_size=tokenizer.vocab_size), seed=0)
    for value in model.parameters.values():
        value += 0.1 * np.random.default_rng(2).standard_normal(value.shape).astype(value.dtype)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def llama(folder):
    tokenizer = tokenizers.ByteLevelBPE.train_from_chunks(TEXT, vocab_size=290)
    sizes = {"hidden_size": 32, "intermediate_size": 70, "num_hidden_layers": 2, "num_attention_heads": 2}
    models.Llama(models.LlamaConfig(**sizes, vocab_size=tokenizer.vocab_size), seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def run(folder, **model):
    corpus = folder.parent / "corpus.txt"
    corpus.write_text(TEXT)
    config = training.RunConfig.from_dict({"corpus": str(corpus), "steps": 3, "batch": 4, "time": 16, "model": model})
    training.train(config, out=folder, progress=False)


KINDS = {
    "gpt2": gpt,
    "gpt2-untied": lambda folder: gpt(folder, tied=False),
    "llama": llama,
    "lstm": lambda folder: run(folder, cell="lstm", hidden_size=40),
    "gpt": lambda folder: run(folder, model_type="gpt", n_positions=16, n_layer=1, n_embd=32, n_head=2),
}


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "model"
    KINDS[request.param](path)
    return path


@pytest.mark.parametrize("kind", ["int8", "bf16", "int4"])
def test_the_folder_does_what_the_option_does(folder, kind, tmp_path, capsys):
    out, text = tmp_path / "out", tmp_path / "text.txt"
    text.write_text(TEXT[:200])
    status, line, _ = minilm(capsys, "export", folder, f"--{kind}", out)
    assert status == 0 and line.count("\n") == 1 and f"{os.path.getsize(out / 'model.safetensors'):,} bytes" in line
    for command in (
        ("generate", "--prompt", "the c", "--tokens", 30, "--json"),
        ("evaluate", "--corpus", text, "--split", "all"),
    ):
        first, *others = command
        expected = minilm(capsys, first, folder, "--quantize", kind, *others)
        assert expected[0] == 0 and minilm(capsys, first, out, *others) == expected
        assert minilm(capsys, first, "--weights", out, *others) == expected
    assert minilm(capsys, "verify", out)[0] == 0
    model, ids = training.load_run(folder).model, np.arange(12).reshape(1, 12)
    expected = quantized.quantize(model, kind).logits(ids)[0]
    assert np.array_equal(training.load_run(out).model.logits(ids)[0], expected)


def test_the_file_is_as_small_as_its_bits(tmp_path, capsys):
    """Of weights that products use: int8 takes (1 + 4/64)/4 of float32, bfloat16 a half, int4 5/8 of a byte."""
    gpt(tmp_path / "model")
    model = models.GPT.from_pretrained(tmp_path / "model")
    maps = sum(value.size for name, value in model.parameters.items() if value.ndim == 2 and name != "wpe.weight")
    others = model.parameters.count - maps
    head = model.parameters["wte.weight"].size * 4 / 9  # of int4: it has int8 with groups of 32, 9/8 bytes, and the rest 5/8
    for kind, share in {"int8": 1 + 4 / 64, "bf16": 2.0, "int4": 5 / 8 + head / maps}.items():
        assert minilm(capsys, "export", tmp_path / "model", f"--{kind}", tmp_path / kind)[0] == 0
        size = os.path.getsize(tmp_path / kind / "model.safetensors")
        assert 4 * others + share * maps < size < 4 * others + 1.1 * share * maps + 4000


def test_what_a_killed_export_left_goes_with_the_next(tmp_path, capsys):
    gpt(tmp_path / "plain")
    left = tmp_path / ".small.0123abcd.tmp"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    assert minilm(capsys, "export", tmp_path / "plain", tmp_path / "small", "--int8")[0] == 0
    assert sorted(os.listdir(tmp_path)) == ["plain", "small"]


def test_a_recipe_answers_and_a_classifier_labels(tmp_path, capsys):
    recipe = recipes.load("translate")(model="transformer", steps=1)
    recipe.run(None, out=tmp_path / "model", progress=False)
    assert minilm(capsys, "export", tmp_path / "model", tmp_path / "out", "--int8")[0] == 0
    again = recipes.open_run(tmp_path / "out")
    assert minilm(capsys, "try", tmp_path / "out", "a man")[:2] == (0, again.answer("a man") + "\n")
    expected = quantized.quantize(recipes.open_run(tmp_path / "model").model, "int8")
    names = {name for name, _ in expected.named_parameters()}
    assert names == {name for name, _ in again.model.named_parameters()}
    for name in names:
        assert np.array_equal(expected.parameters[name], again.model.parameters[name])
    tokenizer = tokenizers.WordPiece.train_from_chunks(TEXT, vocab_size=90)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = models.BERTConfig(**sizes, vocab_size=tokenizer.vocab_size, num_labels=3)
    bert = models.BERTForSequenceClassification(config, seed=0)
    bert.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    assert minilm(capsys, "export", tmp_path / "bert", tmp_path / "small", "--bf16")[0] == 0
    ids = np.array([[2, 7, 8, 3]])
    expected = quantized.quantize(bert, "bf16").logits(ids)
    assert np.array_equal(models.BERTForSequenceClassification.from_pretrained(tmp_path / "small").logits(ids), expected)
    assert "quantization_config" in json.loads((tmp_path / "small" / "config.json").read_text())


def test_an_export_does_not_say_what_it_was_trained_on(tmp_path, capsys):
    """Whoever wants to know is told so, and no other reason."""
    recipes.load("sentiment")(steps=1).run(None, out=tmp_path / "run", progress=False)
    out = tmp_path / "out"
    assert minilm(capsys, "export", tmp_path / "run", out, "--int8")[0] == 0
    status, _, error = minilm(capsys, "evaluate", out)
    assert status == 2 and error == f"minilm: {out} does not say what data its model was trained on: --data PATH\n"
    status, _, error = minilm(capsys, "recipe", "sentiment", "--out", out, "--resume")
    assert status == 2 and "it is an export, or an earlier minilm's run; --overwrite starts it anew" in error
    (tmp_path / "reviews.tsv").write_text("sentence\tlabel\na good film\t1\na bad film\t0\n")
    measured = [
        minilm(capsys, "evaluate", *words, "--data", tmp_path / "reviews.tsv")
        for words in ((out,), (tmp_path / "run", "--quantize", "int8"))
    ]
    assert measured[0][0] == 0 and measured[0] == measured[1]


def test_parameters_of_two_names(tmp_path, capsys):
    """A BERT's bias of its output, and a memory network's first table, are each one parameter of two layers."""
    tokenizer = tokenizers.WordPiece.train_from_chunks(TEXT, vocab_size=90)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    bert = models.BERTForPreTraining(models.BERTConfig(**sizes, vocab_size=tokenizer.vocab_size), seed=0)
    bert.parameters["cls.predictions.bias"][...] = np.arange(tokenizer.vocab_size)
    bert.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    recipes.load("answer")(steps=1).run(None, out=tmp_path / "answer", progress=False)
    for name, command, text in (
        ("bert", ("fill-mask", "--text"), "the [MASK] sat"),
        ("answer", ("try",), "Anna went to the attic. Where is Anna?"),
    ):
        assert minilm(capsys, "export", tmp_path / name, tmp_path / f"{name}-small", "--bf16")[0] == 0
        first, *options = command
        expected = minilm(capsys, first, tmp_path / name, *options, text)
        assert expected[0] == 0 and minilm(capsys, first, tmp_path / f"{name}-small", *options, text) == expected


@pytest.mark.parametrize("cell", ["lstm", "gpt"])
def test_what_needs_gradients_or_all_bits_is_refused(cell, tmp_path, capsys):
    KINDS[cell](tmp_path / "model")
    out = tmp_path / "out"
    assert minilm(capsys, "export", tmp_path / "model", out, "--int8")[0] == 0
    for words in (
        ("explain", out, "--text", "the cat"),
        ("convert", out, tmp_path / "again"),
        ("train", "--init-from", out, "--steps", 1, "--set", "time=16", "--quiet", "--out", tmp_path / "further"),
    ):
        status, _, error = minilm(capsys, *words)
        assert status == 2 and error.count("\n") == 1 and "holds int8 weights, which cannot be" in error, words
    small = training.load_run(out)
    with pytest.raises(ValueError, match="are quantized"):
        interpret.explain(small.model, small.tokenizer, "the cat")


def _metadata(path, change):
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = change(json.loads(content[8 : 8 + size]))
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])


def _about(**fields):
    def change(header):
        about = {**json.loads(header["__metadata__"]["minilm_quantized"]), **fields}
        return {**header, "__metadata__": header["__metadata__"] | {"minilm_quantized": json.dumps(about)}}

    return lambda path: _metadata(path, change)


def _overwritten(name, content):
    def damage(path):
        whole = bytearray(path.read_bytes())
        size = int.from_bytes(whole[:8], "little")
        begin, _ = json.loads(whole[8 : 8 + size])[name]["data_offsets"]
        whole[8 + size + begin : 8 + size + begin + len(content)] = content
        path.write_bytes(whole)

    return damage


DAMAGES = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "not a whole|bytes"),
    "newer": (_about(version=2), "version 2, wanted 1"),
    "kind": (_about(kind="int2"), "kind 'int2', wanted one of int8, bf16, int4"),
    "group": (_about(group=6), "group 6, wanted a multiple of 4"),
    "other group": (_about(group=32), "scales is F32 of shape"),
    "huge group": (_about(group=2**40), "group 1099511627776"),
    "other kind": (_about(kind="bf16"), "missing .*weight; .*unexpected .*codes"),
    "no metadata": (lambda path: _metadata(path, lambda header: header | {"__metadata__": {}}), "codes"),
    "renamed": (lambda path: path.write_bytes(path.read_bytes().replace(b"ln_f.bias", b"ln_g.bias")), "missing ln_f.bias"),
    "code": (_overwritten("h.0.attn.c_attn.weight.codes", b"\x80"), "-128 is no code"),
    "scale": (_overwritten("h.0.attn.c_attn.weight.scales", b"\0\0\xc0\x7f"), "scales are finite"),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported")
    gpt(path / "model")
    assert cli.main(["export", str(path / "model"), "--int8", str(path / "out")]) == 0
    return path / "out"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused(damage, exported, tmp_path, capsys):
    for name in os.listdir(exported):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    change, message = DAMAGES[damage]
    change(tmp_path / "model.safetensors")
    status, out, err = minilm(capsys, "generate", tmp_path, "--tokens", 1)
    assert (status, out, err.count("\n")) == (2, "", 1) and str(tmp_path) in err
    with pytest.raises(ValueError, match=message):
        models.GPT.from_pretrained(tmp_path)
    assert minilm(capsys, "verify", tmp_path)[0] == 1


def test_what_is_refused(exported, tmp_path, capsys):
    def fails(*words):
        status, out, err = minilm(capsys, *words)
        assert (status, out, err.count("\n")) == (2, "", 1)
        return err

    assert "quantized already" in fails("export", exported, "--int8", tmp_path / "new")
    assert "quantized already" in fails("generate", exported, "--quantize", "bf16")
    assert "is there already" in fails("export", exported, "--int8", exported)
    assert "there is no folder" in fails("export", tmp_path / "none", "--int8", tmp_path / "new")
    assert os.listdir(tmp_path) == []
    with pytest.raises(SystemExit):
        cli.main(["export", str(exported), str(tmp_path / "new")])
    assert "one of the arguments --int8 --int4 --bf16 is required" in capsys.readouterr().err
    model = models.GPT.from_pretrained(exported)
    with pytest.raises(ValueError, match="minilm.quantized.save writes such models"):
        model.save_pretrained(tmp_path / "new")
    with pytest.raises(ValueError, match="for a model of float32"):
        models.GPT.from_pretrained(exported, dtype=np.float64)
    with pytest.raises(ValueError, match="are not quantized"):
        quantized.save(
            models.GPT(models.GPTConfig.gpt2(n_layer=1, n_head=1, n_embd=4, n_positions=4, vocab_size=5)), tmp_path / "new"
        )
