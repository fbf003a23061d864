"""`minilm convert`: every form that is written, read again by minilm and by the programs that it is for; and what is refused."""

import json
import os

import numpy as np
import pytest

from minilm import cli, models, tokenizers
from minilm.cli import conversions

IDS = np.random.default_rng(0).integers(0, 250, (2, 7))  # (B, T)
BERT = {"vocab_size": 270, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20}
GPT = {"vocab_size": 270, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 16}
LLAMA = {"vocab_size": 270, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA |= {"num_key_value_heads": 2, "max_position_embeddings": 32, "rms_norm_eps": 0.125, "rope_theta": 64.0}


def disturbed(model):
    rng = np.random.default_rng(3)
    for value in model.parameters.values():
        value[...] = rng.normal(size=value.shape) * 0.3
    return model


def folder_of(model, path):
    """The model and a tokenizer as Hugging Face lays them out."""
    model.save_pretrained(path)
    tokenizer = tokenizers.ByteLevelBPE.train_from_chunks(["the cat sat on the mat. " * 20], vocab_size=269)
    tokenizer.save_pretrained(path)
    return model, tokenizer


@pytest.fixture
def gpt(tmp_path):
    return folder_of(disturbed(models.GPT(models.GPTConfig.gpt2(**GPT))), tmp_path / "gpt")


def convert(capsys, *words):
    """The status, and what is printed."""
    status = cli.main(["convert", *map(str, words)])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def test_state_dicts_for_pytorch(gpt, tmp_path, capsys):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    read = {"model.pt": torch.load, "model.safetensors": pytest.importorskip("safetensors.torch").load_file}
    peer = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "gpt").eval()
    for name in read:
        status, text = convert(capsys, tmp_path / "gpt", tmp_path / name)
        assert status == 0 and "GPT" in text
        state = read[name](tmp_path / name)
        other = transformers.GPT2LMHeadModel(peer.config).eval()
        done = other.load_state_dict(state, strict=False)
        assert not done.unexpected_keys and set(done.missing_keys) <= {"lm_head.weight"}
        other.tie_weights()
        with torch.no_grad():
            assert torch.equal(other(torch.from_numpy(IDS)).logits, peer(torch.from_numpy(IDS)).logits)
    (tmp_path / "again").mkdir()
    (tmp_path / "gpt" / "model.safetensors").unlink()
    (tmp_path / "model.pt").rename(tmp_path / "gpt" / "pytorch_model.bin")
    assert convert(capsys, tmp_path / "gpt", tmp_path / "again")[0] == 0
    assert models.GPT.from_pretrained(tmp_path / "again").parameters.flat.tobytes() == gpt[0].parameters.flat.tobytes()
    assert tokenizers.load(tmp_path / "again").encode("the cat").tolist() == gpt[1].encode("the cat").tolist()


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_gguf(family, tmp_path, capsys):
    model, tokenizer = folder_of(disturbed(models.Llama(models.LlamaConfig(family=family, **LLAMA))), tmp_path / "llama")
    assert convert(capsys, tmp_path / "llama", tmp_path / "m.gguf")[0] == 0
    again = models.Llama.from_gguf(tmp_path / "m.gguf")
    assert again.parameters.flat.tobytes() == model.parameters.flat.tobytes()
    status, text = convert(capsys, tmp_path / "m.gguf", tmp_path / "back")
    assert status == 0 and "gguf" in text and "huggingface" in text
    assert np.array_equal(models.Llama.from_pretrained(tmp_path / "back").logits(IDS)[0], model.logits(IDS)[0])
    own = tokenizers.load(tmp_path / "back")
    assert own.encode("the cat sat").tolist() == tokenizer.encode("the cat sat").tolist()
    gguf = pytest.importorskip("gguf")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    assert reader.fields["general.architecture"].contents() == family
    stored = {tensor.name: tensor.data for tensor in reader.tensors}
    assert len(stored) == len(model.parameters)
    assert np.array_equal(stored["token_embd.weight"], model.parameters["embed_tokens.weight"])


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_onnx(activation, tmp_path, capsys):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = disturbed(models.BERT(models.BERTConfig(**BERT, hidden_act=activation, max_position_embeddings=16)))
    model.save_pretrained(tmp_path / "bert")
    assert convert(capsys, tmp_path / "bert", tmp_path / "bert.onnx")[0] == 0
    session = onnxruntime.InferenceSession(tmp_path / "bert.onnx")
    rng = np.random.default_rng(1)
    for B, T, lengths in ((3, 9, (9, 5, 1)), (1, 16, (16,))):
        ids, mask, kinds = rng.integers(0, 270, (B, T)), np.zeros((B, T), np.int64), rng.integers(0, 2, (B, T))
        for row, length in enumerate(lengths):
            mask[row, :length] = 1
        hidden, pooled = session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds})
        wanted = model.forward(ids, kinds, mask.astype(bool))[0]
        seen = mask.astype(bool)
        assert np.abs(hidden - wanted.hidden)[seen].max() < 1e-4 and np.abs(pooled - wanted.pooled).max() < 1e-4


def test_models_of_minilm_in_a_folder_of_their_own(tmp_path, capsys):
    """Those that transformers has no class for: read again by models.load, and by the commands where they write text."""
    model = disturbed(models.Seq2Seq(models.Seq2SeqConfig(vocab_size=11, hidden_size=6, embedding_size=4)))
    models.save(model, tmp_path / "m.safetensors")
    assert convert(capsys, tmp_path / "m.safetensors", tmp_path / "folder")[0] == 0
    again = models.load(tmp_path / "folder" / "model.safetensors")
    assert again.parameters.flat.tobytes() == model.parameters.flat.tobytes()
    assert convert(capsys, tmp_path / "folder", tmp_path / "m.pt")[0] == 0
    arrays = {"embedding.weight": (12, 4), "recurrent.weight_ih_l0": (20, 4), "recurrent.weight_hh_l0": (20, 5)}
    arrays |= {"output.weight": (12, 5), "output.bias": (12,)}
    np.savez(tmp_path / "lstm.npz", **{name: np.ones(shape, np.float32) for name, shape in arrays.items()})
    (tmp_path / "v.json").write_text(json.dumps(list("zyx w\nvutsrq")))
    words = (tmp_path / "lstm.npz", tmp_path / "lstm", "--vocabulary", tmp_path / "v.json")
    assert convert(capsys, *words)[0] == 0
    assert cli.main(["generate", "--weights", str(tmp_path / "lstm"), "--prompt", "vut", "--tokens", "3"]) == 0
    assert capsys.readouterr().out.startswith("vut")


@pytest.mark.parametrize("first", ["m.keras", "m.h5", "m.safetensors"])
def test_a_sequential_is_read_in_every_form_that_is_written(first, tmp_path, capsys):
    pytest.importorskip("h5py")
    from minilm.sequential import GRU, Bidirectional, Dense, Embedding, Sequential, load_model

    model = Sequential([Embedding(9, 4), Bidirectional(GRU(3)), Dense(2, activation="softmax")])
    model.build((None, 5))
    model.save(tmp_path / first)
    x = IDS[:, :5] % 9
    for name in ("other.keras", "other.h5"):
        status, text = convert(capsys, tmp_path / first, tmp_path / name)
        assert status == 0 and "sequential, Sequential" in text
        assert np.array_equal(load_model(tmp_path / name).predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("fails", ["model", "tokenizer"])
@pytest.mark.parametrize("family", ["minilm", "huggingface"])
def test_a_full_disk_leaves_no_half_of_a_folder(family, fails, gpt, tmp_path, capsys, monkeypatch):
    """And TO may be given again."""
    models.save(models.Seq2Seq(models.Seq2SeqConfig(vocab_size=11, hidden_size=6, embedding_size=4)), tmp_path / "m.safetensors")
    source = conversions.read(str(tmp_path / ("gpt" if family == "huggingface" else "m.safetensors")), None, None)
    letters = tokenizers.Character(list("abc"))
    source = source._replace(tokenizers={"tokenizer.json": letters})

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*{"model": (models, "save"), "tokenizer": (tokenizers.Character, "save")}[fails], full)
        if (family, fails) == ("huggingface", "model"):
            patch.setattr(type(source.model), "save_pretrained", full)
        with pytest.raises(OSError, match="No space left"):
            conversions.write(source, str(tmp_path / "out"), None)
    assert not [name for name in os.listdir(tmp_path) if "out" in name]
    assert conversions.write(source, str(tmp_path / "out"), None) == family
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(os.listdir(tmp_path / "out"))


def test_a_run_is_converted(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 60)
    sizes = ["--set", "model.n_embd=8", "--set", "model.n_layer=1", "--set", "model.n_head=2", "--set", "sample.tokens=0"]
    command = ["train", "--corpus", str(tmp_path / "text.txt"), "--model", "gpt", "--steps", "2", "--out", str(tmp_path / "run")]
    assert cli.main([*command, *sizes]) == 0
    capsys.readouterr()
    status, text = convert(capsys, tmp_path / "run", tmp_path / "hf")
    assert status == 0 and "minilm, GPT" in text and "huggingface" in text
    assert cli.main(["generate", "--weights", str(tmp_path / "hf"), "--prompt", "the", "--tokens", "3"]) == 0


def test_what_is_refused_in_one_line(gpt, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("a text")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").touch()
    np.savez(tmp_path / "whole.npz", w=np.zeros(99))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:200])
    (tmp_path / "whole.npz").unlink()
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    np.save(tmp_path / "one.npy", np.zeros(3))
    models.save(models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=5)), tmp_path / "m.safetensors")
    for words, message in [
        (("./nothing", "x"), "there is no folder ./nothing"),
        (
            (tmp_path / "text.txt", tmp_path / "x"),
            "of no kind that is recognised: --from says which of minilm, gguf, sequential, nanogpt",
        ),
        ((tmp_path / "empty", tmp_path / "x"), "empty is empty"),
        (
            (tmp_path / "cut.npz", tmp_path / "x"),
            "cut.npz begins as a zip archive, such as PyTorch's files and .npz, and is cut short",
        ),
        ((tmp_path / "cut.h5", tmp_path / "x"), "cut.h5 begins as HDF5, and is damaged or cut short"),
        ((tmp_path / "one.npy", tmp_path / "x"), "one.npy is one array of NumPy's: wanted all arrays of a model"),
        ((tmp_path, tmp_path / "x"), f"is a folder without a config.json; {tmp_path / 'gpt'} has one"),
        ((tmp_path / "full", tmp_path / "x"), "full is a folder without a config.json or a file of weights"),
        ((tmp_path / "empty", tmp_path / "x", "--from", "dates"), "empty: no whole pickle, as PyTorch's files have it"),
        ((tmp_path / "gpt", tmp_path / "full"), "is there already: TO must be new"),
        ((tmp_path / "gpt", tmp_path / "text.txt"), "is there already: TO must be new"),
        ((tmp_path / "gpt", tmp_path / "m.gguf"), "GGUF is written of Llama's families llama, qwen2, qwen3, got GPT"),
        ((tmp_path / "gpt", tmp_path / "m.onnx"), "ONNX is written of BERT's encoders, got a GPT"),
        ((tmp_path / "gpt", tmp_path / "m.keras"), "of a Sequential alone a file of Keras's is written, got a GPT"),
        ((tmp_path / "m.safetensors", tmp_path / "x", "--to", "huggingface"), "transformers has no class for a RNNLanguageModel"),
        ((tmp_path / "gpt", tmp_path / "x", "--from", "llmc"), "is no model of llm.c"),
        ((tmp_path / "gpt", tmp_path / "x", "--vocabulary", tmp_path / "text.txt"), "has 1 tokens, and the model 270"),
    ]:
        status, text = convert(capsys, *words)
        assert status == 2 and message in text and len(text.splitlines()) == 1, text
        assert not (tmp_path / "x").exists()
    with pytest.raises(SystemExit) as caught:
        cli.main(["convert", "a", "b", "--from", "nanogtp"])
    assert caught.value.code == 2 and "did you mean 'nanogpt'" in capsys.readouterr().err


def test_the_help_names_every_form(capsys):
    with pytest.raises(SystemExit):
        cli.main(["convert", "--help"])
    printed = capsys.readouterr().out
    for kind in (*conversions.sources(), *conversions.TARGETS):
        assert f"  {kind} " in printed


def test_an_empty_path_is_no_folder(gpt, tmp_path, capsys, monkeypatch):
    """An unset variable of a shell is not the folder where the command runs."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for words in (
        ["convert", "../gpt", ""],
        ["export", "../gpt", "", "--int8"],
        ["explain", "../gpt", "--text", "a", "--json", ""],
    ):
        with pytest.raises(SystemExit) as exit:
            cli.main(words)
        assert exit.value.code == 2 and "a path is wanted, got an empty one" in capsys.readouterr().err
    assert not list((tmp_path / "here").iterdir())


def test_a_folder_of_our_own_is_loaded_by_its_name(tmp_path, capsys):
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=9, hidden_size=4, num_layers=1), seed=0)
    models.save(model, tmp_path / "model.safetensors")
    assert convert(capsys, tmp_path / "model.safetensors", tmp_path / "folder")[0] == 0
    again = models.load(tmp_path / "folder")
    assert all(np.array_equal(again.parameters[name], value) for name, value in model.parameters.items())
