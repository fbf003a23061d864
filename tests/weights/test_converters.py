"""Converters of other programs' weights, on files that the tests write in those programs' forms, against PyTorch's arithmetic."""

import json
import pickle
import struct

import numpy as np
import pytest
import safetensors.numpy

from minilm import models, tokenizers
from minilm.weights.converters import CONVERTERS, recognised
from tests.data.test_damaged_files import mutated

torch = pytest.importorskip("torch")
IDS = np.random.default_rng(0).integers(0, 11, (2, 7))  # (B, T)


def close(a, b):
    return np.abs(a - b).max() <= 1e-5 * np.abs(b).max()


# --- nanoGPT --------------------------------------------------------------------------------------------------------------


class Block(torch.nn.Module):
    """nanoGPT's, from its source."""

    def __init__(self, D, H, bias):
        super().__init__()
        self.ln_1, self.ln_2 = (torch.nn.LayerNorm(D, bias=bias) for _ in range(2))
        self.attn, self.mlp, self.heads = torch.nn.Module(), torch.nn.Module(), H
        self.attn.c_attn, self.attn.c_proj = torch.nn.Linear(D, 3 * D, bias=bias), torch.nn.Linear(D, D, bias=bias)
        self.mlp.c_fc, self.mlp.c_proj = torch.nn.Linear(D, 4 * D, bias=bias), torch.nn.Linear(4 * D, D, bias=bias)

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2) for part in self.attn.c_attn(self.ln_1(x)).split(D, dim=2))
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, D)
        x = x + self.attn.c_proj(y)
        return x + self.mlp.c_proj(torch.nn.functional.gelu(self.mlp.c_fc(self.ln_2(x))))


class NanoGPT(torch.nn.Module):
    def __init__(self, V=11, T=9, D=12, H=3, L=2, bias=False):
        super().__init__()
        parts = {"wte": torch.nn.Embedding(V, D), "wpe": torch.nn.Embedding(T, D)}
        parts |= {"h": torch.nn.ModuleList(Block(D, H, bias) for _ in range(L)), "ln_f": torch.nn.LayerNorm(D, bias=bias)}
        self.transformer, self.lm_head = torch.nn.ModuleDict(parts), torch.nn.Linear(D, V, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        self.args = {"n_layer": L, "n_head": H, "n_embd": D, "block_size": T, "bias": bias, "vocab_size": V, "dropout": 0.0}
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, std=0.4, generator=torch.Generator().manual_seed(parameter.numel()))

    def forward(self, ids):
        parts = self.transformer
        x = parts.wte(ids) + parts.wpe(torch.arange(ids.shape[1]))
        for block in parts.h:
            x = block(x)
        return self.lm_head(parts.ln_f(x))


def a_checkpoint(folder, model, **more):
    state = {f"_orig_mod.{name}": tensor for name, tensor in model.state_dict().items()}  # as torch.compile names them
    optimizer = torch.optim.AdamW(model.parameters()).state_dict()
    content = {
        "model": state,
        "optimizer": optimizer,
        "model_args": {**model.args, **more},
        "iter_num": 5,
        "config": {"lr": 1e-3},
    }
    torch.save({**content, "best_val_loss": torch.tensor(1.5)}, folder / "ckpt.pt")


@pytest.mark.parametrize("bias", [False, True])
def test_nanogpt(bias, tmp_path):
    peer = NanoGPT(bias=bias)
    a_checkpoint(tmp_path, peer)
    numbers = {letter: (id * 3) % 11 for id, letter in enumerate("abcdefghijk")}  # in an order of its own
    meta = {"vocab_size": 11, "itos": {id: letter for letter, id in numbers.items()}, "stoi": numbers}
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(meta))
    assert recognised(tmp_path) == recognised(tmp_path / "ckpt.pt") == "nanogpt"
    model, own = models.convert_from(tmp_path)
    text = "abbakadghice"[:7]
    with torch.no_grad():
        wanted = peer(torch.tensor([[numbers[letter] for letter in text]])).numpy()[0]  # (T, V)
    logits = model.logits(own["tokenizer.json"].encode(text)[None])[0][0]
    assert close(logits, wanted[:, [numbers[letter] for letter in "abcdefghijk"]])
    (tmp_path / "meta.pkl").unlink()
    model, own = models.convert_from(tmp_path / "ckpt.pt")
    with torch.no_grad():
        assert not own and close(model.logits(IDS)[0], peer(torch.from_numpy(IDS)).numpy())
    model.save_pretrained(tmp_path / "out")
    assert close(models.GPT.from_pretrained(tmp_path / "out").logits(IDS)[0], model.logits(IDS)[0])


def test_what_nanogpt_does_not_have(tmp_path):
    a_checkpoint(tmp_path, NanoGPT(), use_rmsnorm=True)
    with pytest.raises(ValueError, match="model_args has 'use_rmsnorm', which is not known"):
        models.convert_from(tmp_path)
    a_checkpoint(tmp_path, NanoGPT(), n_layer=3)
    with pytest.raises(ValueError, match="does not fit the model: missing transformer.h.2"):
        models.convert_from(tmp_path)
    a_checkpoint(tmp_path, NanoGPT())
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps({"stoi": {"a": 0}}))
    with pytest.raises(ValueError, match="stoi must give each of the model's 11 characters"):
        models.convert_from(tmp_path)


# --- llm.c ----------------------------------------------------------------------------------------------------------------

LAYERS = (
    "ln_1.weight ln_1.bias attn.c_attn.weight attn.c_attn.bias attn.c_proj.weight attn.c_proj.bias ln_2.weight ln_2.bias".split()
)
LAYERS += "mlp.c_fc.weight mlp.c_fc.bias mlp.c_proj.weight mlp.c_proj.bias".split()


def llmc(model, version):
    """A file, as train_gpt2.py of llm.c writes it."""
    c = model.config
    padded = -(-c.vocab_size // 8) * 8 if version != 1 else 0
    header = [20240326, version, c.n_positions, c.vocab_size, c.n_layer, c.n_head, c.n_embd, padded]
    table = model.parameters["wte.weight"]
    parts = [
        np.concatenate([table, np.full((max(0, padded - len(table)), c.n_embd), 7, np.float32)]),
        model.parameters["wpe.weight"],
    ]
    parts += [np.stack([model.parameters[f"h.{layer}.{name}"] for layer in range(c.n_layer)]) for name in LAYERS]
    parts += [model.parameters["ln_f.weight"], model.parameters["ln_f.bias"]]
    flat = np.concatenate([part.ravel() for part in parts]).astype("<f4")
    content = (flat.view("<u4") >> 16).astype("<u2").tobytes() if version == 5 else flat.tobytes()
    return np.array(header + [0] * (256 - len(header)), "<i4").tobytes() + content


@pytest.fixture
def gpt():
    model = models.GPT(models.GPTConfig.gpt2(vocab_size=11, n_positions=9, n_embd=12, n_head=3, n_layer=2), seed=1)
    rng = np.random.default_rng(1)
    for value in model.parameters.values():
        value[...] = rng.normal(size=value.shape)
    return model


@pytest.mark.parametrize("version", [1, 3, 5])
def test_llmc(version, gpt, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(llmc(gpt, version))
    assert recognised(path) == "llmc"
    model, _ = models.convert_from(path)
    for name, wanted in gpt.parameters.items():
        wanted = (wanted.view(np.uint32) >> 16 << 16).view(np.float32) if version == 5 else wanted
        assert np.array_equal(model.parameters[name], wanted), name
    whole = path.read_bytes()
    for content, message in [
        (whole[:-4], "its header asks for"),
        (whole[:4] + struct.pack("<i", 9) + whole[8:], "version 9"),
        (whole[:8] + struct.pack("<i", -1) + whole[12:], "sizes that no model has"),
        (whole[:16] + struct.pack("<i", 2**31 - 1) + whole[20:], "asks for"),
        (whole[:100], "256 numbers"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            models.convert_from(path, "llmc")


# --- recurrent models -------------------------------------------------------------------------------------------------------


class WordModel(torch.nn.Module):
    """By the names of PyTorch's own example of a language model."""

    def __init__(self, cell, V=11, E=6, H=5, L=2):
        super().__init__()
        self.encoder, self.decoder = torch.nn.Embedding(V, E), torch.nn.Linear(H, V)
        self.rnn = getattr(torch.nn, cell)(E, H, L, batch_first=True)

    def forward(self, ids):
        return self.decoder(self.rnn(self.encoder(ids))[0])


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_recurrent_models_of_pytorch(cell, tmp_path):
    peer = WordModel(cell)
    torch.save(peer.state_dict(), tmp_path / "model.pt")
    (tmp_path / "vocab.json").write_text(
        json.dumps(["the", "<eos>", "cat", "sat", "<unk>", "on", "a", "mat", "and", "so", "ran"])
    )
    assert recognised(tmp_path / "model.pt") == "recurrent"
    model, own = models.convert_from(tmp_path / "model.pt")
    with torch.no_grad():
        wanted = peer(torch.tensor([[6, 2, 4, 1]])).numpy()[0]  # a cat <unk>, end of line
    tokenizer = own["tokenizer.json"]
    logits = model.logits(tokenizer.encode("a cat flew\n")[None])[0][0]
    order = [json.loads((tmp_path / "vocab.json").read_text()).index(word) for word in tokenizer.vocabulary]
    assert close(logits, wanted[:, order])


def test_arrays_that_do_not_fit_are_listed(tmp_path):
    arrays = {name: tensor.numpy() for name, tensor in WordModel("LSTM").state_dict().items()}
    for change, message in [
        ({"decoder.weight": arrays["decoder.weight"][:, :3]}, r"output\.weight has shape \(11, 3\), wanted \(11, 5\)"),
        ({"more": np.zeros(3, np.float32)}, "unexpected more"),
        ({"rnn.weight_hh_l0": np.zeros((7, 5), np.float32)}, "wanted 4 H, 3 H or H rows"),
        ({"decoder.bias": np.zeros(11, np.int64)}, "floating-point"),
    ]:
        safetensors.numpy.save_file({**arrays, **change}, tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match=message) as caught:
            models.convert_from(tmp_path)
        assert "\n" not in str(caught.value)
    (tmp_path / "v.txt").write_text("one\ntwo\n")
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="has 2 tokens, and the model 11"):
        models.convert_from(tmp_path, vocabulary=tmp_path / "v.txt")


def basic_lstm_cell(kernel, bias, x):
    """TensorFlow's formulas: gates i, j, f, o, and 1 added to f."""
    H = len(bias) // 4
    h = c = np.zeros(H)
    rows = []
    for step in x:
        i, j, f, o = np.split(np.concatenate([step, h]) @ kernel + bias, 4)
        c = c / (1 + np.exp(-(f + 1.0))) + np.tanh(j) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        rows.append(h)
    return np.array(rows)


@pytest.mark.parametrize("names", ["rnnlm/multi_rnn_cell/cell_{}/basic_lstm_cell/", "model/rnn/cell_{}/basic_lstm_cell/"])
def test_basic_lstm_cells_of_tensorflow(names, tmp_path):
    rng, H, V = np.random.default_rng(2), 5, 11
    arrays = {"model/embedding": rng.normal(size=(V, 4)), "model/softmax_w": rng.normal(size=(H, V)), "global_step": np.array(7)}
    arrays |= {"model/softmax_b": rng.normal(size=V), "training/model/embedding/Adam": np.zeros((V, 4))}
    for layer, width in enumerate((4, H)):
        arrays[names.format(layer) + "kernel"] = rng.normal(size=(width + H, 4 * H))
        arrays[names.format(layer) + "bias"] = rng.normal(size=4 * H)
    np.savez(tmp_path / "model.npz", **arrays)
    assert recognised(tmp_path / "model.npz") == "tensorflow"
    model, _ = models.convert_from(tmp_path / "model.npz", dtype=np.float64)
    x = arrays["model/embedding"][IDS[0]]
    for layer in range(2):
        x = basic_lstm_cell(arrays[names.format(layer) + "kernel"], arrays[names.format(layer) + "bias"], x)
    assert close(model.logits(IDS[:1])[0][0], x @ arrays["model/softmax_w"] + arrays["model/softmax_b"])
    np.savez(tmp_path / "model.npz", **arrays, strange=np.zeros(3))
    with pytest.raises(ValueError, match="'strange' is no variable"):
        models.convert_from(tmp_path / "model.npz")


# --- CTranslate2 ------------------------------------------------------------------------------------------------------------


def ctranslate2_file(arrays, version=6, name="TransformerSpec"):
    """model.bin, as its writer lays it out."""

    def text(value):
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    kinds = {"float32": 0, "int8": 1, "int16": 2}
    content = struct.pack("<I", version) + text(name) + struct.pack("<II", 7, len(arrays))
    for name, array in arrays.items():
        sizes = b"".join(struct.pack("<I", n) for n in array.shape)
        content += text(name) + struct.pack("<B", array.ndim) + sizes + struct.pack("<bI", kinds[array.dtype.name], array.nbytes)
        content += array.tobytes()
    return content + struct.pack("<I", 0)


@pytest.fixture
def translator():
    """A small Transformer, and its arrays by CTranslate2's names."""
    sizes = {"d_model": 8, "num_heads": 2, "hidden_dim": 12, "encoder_layers": 2, "decoder_layers": 1, "target_vocab_size": 9}
    kind = {"norm_first": True, "positions": "tensor2tensor", "tied": False, "output_bias": True, "activation": "gelu_erf"}
    model = models.Transformer(models.TransformerConfig(vocab_size=11, **sizes, **kind), seed=3)
    rng, arrays = np.random.default_rng(3), {}
    for name, value in model.parameters.items():
        value[...] = rng.normal(size=value.shape) * 0.5
        first, _, end = name.rpartition(".")
        first = first.replace("source_embedding", "encoder/embeddings").replace("target_embedding", "decoder/embeddings")
        first = first.replace("encoder_norm", "encoder/layer_norm").replace("decoder_norm", "decoder/layer_norm")
        first = "decoder/projection" if first == "output" else first
        for side, number in (("encoder", 0), ("encoder", 1), ("decoder", 0)):
            first = first.replace(f"{side}.{number}.", f"{side}/layer_{number}/")
        for ours, theirs in {
            "ln_cross_attn": "attention/layer_norm", "crossattention.query": "attention/linear_0",
            "crossattention.c_proj": "attention/linear_2", "ln_1": "self_attention/layer_norm", "ln_2": "ffn/layer_norm",
            "attn.c_attn": "self_attention/linear_0", "attn.c_proj": "self_attention/linear_1", "mlp.c_fc": "ffn/linear_0",
            "mlp.c_proj": "ffn/linear_1",
        }.items():  # fmt: skip
            first = first.replace(ours, theirs)
        norm = first.endswith("layer_norm")
        arrays[f"{first}/{ {'weight': 'gamma', 'bias': 'beta'}[end] if norm else end }"] = value
    for end in ("weight", "bias"):
        both = [arrays.pop(f"decoder/layer_0/crossattention.{part}/{end}") for part in ("key", "value")]
        arrays[f"decoder/layer_0/attention/linear_1/{end}"] = np.concatenate(both)
    return model, arrays


def test_ctranslate2(translator, tmp_path):
    model, arrays = translator
    settings = {f"{side}/{name}": np.array(value, np.int8) for side in ("encoder", "decoder")
                for name, value in {"num_heads": 2, "pre_norm": 1, "activation": 3}.items()}  # fmt: skip
    (tmp_path / "model.bin").write_bytes(ctranslate2_file({**arrays, **settings}))
    (tmp_path / "source_vocabulary.json").write_text(json.dumps([f"s{id}" for id in range(11)]))
    (tmp_path / "target_vocabulary.txt").write_text("".join(f"t{id}\n" for id in range(9)))
    assert recognised(tmp_path) == "ctranslate2"
    again, own = models.convert_from(tmp_path)
    assert own["source.json"].encode("s10 s0").tolist() == [10, 0] and own["target.json"].vocab_size == 9
    assert np.array_equal(again.logits(IDS, IDS % 9), model.logits(IDS, IDS % 9))
    for change, message in [
        ({"decoder/layer_0/attention/linear_0/weight_scale": np.ones(3, np.float32)}, "weight_scale' is no weight"),
        ({"encoder/embeddings/weight": np.zeros((11, 8), np.int8)}, "quantised to int8"),
        ({"encoder/pre_norm": np.array(0, np.int8)}, "pre_norm = 0 is not supported, wanted 1"),
        ({"decoder/projection/weight": np.zeros((9, 7), np.float32)}, r"output\.weight"),
    ]:
        (tmp_path / "model.bin").write_bytes(ctranslate2_file({**arrays, **settings, **change}))
        with pytest.raises(ValueError, match=message):
            models.convert_from(tmp_path)
    whole = ctranslate2_file(arrays)
    for content, message in [
        (whole[:2000], "cut short"),
        (whole.replace(b"TransformerSpec", b"WhisperModelXXX"), "wanted a Trans"),
    ]:
        (tmp_path / "model.bin").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            models.convert_from(tmp_path, "ctranslate2")


# --- Hugging Face's folders in PyTorch's own form, and files that are changed ------------------------------------------------


@pytest.mark.parametrize("shards", [1, 2])
def test_folders_with_pytorch_model_bin(shards, gpt, tmp_path):
    transformers = pytest.importorskip("transformers")
    gpt.save_pretrained(tmp_path / "in")
    peer = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "in")
    state, index = peer.state_dict(), {}
    names = ["pytorch_model.bin"] if shards == 1 else ["pytorch_model-1.bin", "pytorch_model-2.bin"]
    for number, name in enumerate(names):
        part = {key: tensor for place, (key, tensor) in enumerate(state.items()) if place % shards == number}
        torch.save(part, tmp_path / "in" / name)
        index |= dict.fromkeys(part, name)
    if shards > 1:
        (tmp_path / "in" / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))
    (tmp_path / "in" / "model.safetensors").unlink()
    assert recognised(tmp_path / "in") == "huggingface"
    model, _ = models.convert_from(tmp_path / "in")
    assert model.parameters.flat.tobytes() == gpt.parameters.flat.tobytes()


def files(folder, gpt, translator):
    """A file of each format that is read byte by byte."""
    a_checkpoint(folder, NanoGPT())
    (folder / "llmc.bin").write_bytes(llmc(gpt, 3))
    (folder / "model.bin").write_bytes(ctranslate2_file(translator[1]))
    arrays = {name: tensor.numpy() for name, tensor in WordModel("LSTM").state_dict().items()}
    np.savez(folder / "recurrent.npz", **arrays)
    safetensors.numpy.save_file(arrays, folder / "recurrent.safetensors")
    return {"nanogpt": "ckpt.pt", "llmc": "llmc.bin", "ctranslate2": "model.bin", "recurrent": "recurrent.npz"}


def test_changed_files_give_a_model_or_one_line(gpt, translator, tmp_path):
    rng, refused = np.random.default_rng(5), 0
    for kind, name in files(tmp_path, gpt, translator).items():
        whole = (tmp_path / name).read_bytes()
        for _ in range(25):
            (tmp_path / name).write_bytes(mutated(rng, whole))
            try:
                models.convert_from(tmp_path / name, kind)
            except (ValueError, OSError) as error:
                refused += 1
                assert str(error) and "\n" not in str(error)
    assert refused > 25


def test_what_is_not_recognised(tmp_path):
    (tmp_path / "text.txt").write_text("a text")
    with pytest.raises(ValueError, match="is of no kind that is recognised: converted are nanogpt"):
        models.convert_from(tmp_path / "text.txt")
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        models.convert_from(tmp_path / "nothing")
    with pytest.raises(ValueError, match="there is no converter 'nanogtp': did you mean 'nanogpt'"):
        models.convert_from(tmp_path / "text.txt", "nanogtp")


@pytest.mark.parametrize("kind", CONVERTERS)
def test_every_converter_says_what_it_does_not_read(kind, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        models.convert_from(tmp_path / "x.safetensors", kind)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_tokens_in_any_order_are_read(tmp_path):
    from minilm.weights.converters.vocabularies import characters, read_tokens

    for content in ('["b", "\\n", "a"]', '{"b": 0, "a": 2, "\\n": 1}'):
        (tmp_path / "v.json").write_text(content)
        tokenizer, order = characters(read_tokens(str(tmp_path / "v.json"), 3))
        assert isinstance(tokenizer, tokenizers.Character) and order.tolist() == [1, 2, 0]
        assert tokenizer.encode("ab\n").tolist() == [1, 2, 0]
    for content, message in [("{", "no list"), ('{"a": 0, "b": 2}', "0 ... 1, each once"), ('["a", "a"]', "different tokens")]:
        (tmp_path / "v.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            read_tokens(str(tmp_path / "v.json"), 2)
