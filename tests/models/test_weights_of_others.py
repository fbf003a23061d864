"""Ten models that other people trained: each runs in minilm and gives the answer that is known of it.

Their folder is not part of the project: MINILM_TEST_WEIGHTS names it, and MINILM_TEST_CORPORA that of public texts. A GPT of
names, and the blocks of one that sorts, are in `test_published`.
"""

import gzip
import json
import os

import numpy as np
import pytest

from minilm import cli, generation, models, training
from minilm.models.token_reader import reader_of
from minilm.models.transformer_token import TransformerReader
from minilm.ops import activations, softmax
from minilm.weights import TensorFile

WEIGHTS, CORPORA = (os.environ.get(f"MINILM_TEST_{name}", "") for name in ("WEIGHTS", "CORPORA"))
pytestmark = pytest.mark.skipif(not WEIGHTS, reason="MINILM_TEST_WEIGHTS names no folder")
needs_corpora = pytest.mark.skipif(not CORPORA, reason="MINILM_TEST_CORPORA names no folder")


def place(*names):
    return os.path.join(WEIGHTS, *names)


def arrays_of(*names):
    with TensorFile(place(*names)) as file:
        return {name: file.read(name) for name in file}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, W_ih, W_hh, b):
    """The states (T, H) of x (T, D), gates i f g o: the formula, step by step."""
    h = c = np.zeros(W_hh.shape[1])
    rows = []
    for step in x:
        i, f, g, o = np.split(W_ih @ step + W_hh @ h + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        rows.append(h)
    return np.array(rows)


def layers_of(arrays, x):
    """The states of each layer of an LSTM by PyTorch's names."""
    parts = [x]
    for number in range(sum("weight_hh" in name for name in arrays)):
        weights = [arrays[f"recurrent.{name}_l{number}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        parts.append(lstm(parts[-1], *weights[:2], weights[2] + weights[3]))
    return parts


def greedy(model, source, begin, tokens):
    """The most probable target of each source (N, S), token by token: (N, tokens)."""
    state, ids, drawn = model.encode(source), np.full(len(source), begin), []
    for _ in range(tokens):
        logits, state = model.step(ids, state)
        ids = logits.argmax(axis=1)
        drawn.append(ids)
    return np.stack(drawn, axis=1)


# --- GPT ------------------------------------------------------------------------------------------------------------------


def test_every_intermediate_tensor_of_the_sorter():
    """What bbycroft/llm-viz stored of three rows: from the embeddings to the probabilities, by the model's own layers.

    Of the second layer on x, ln1 ... mlp are not in the file but for the blocks' outputs: the others are the first's.
    """
    model, wanted = models.GPT.from_pretrained(place("gpt2-nano-sort", "hf")), np.load(place("gpt2-nano-sort", "partials.npz"))
    ids = wanted["idx"].astype(np.int64)  # (B, T)
    (B, T), (block, attn, mlp) = ids.shape, (model.h[0], model.h[0].attn, model.h[0].mlp)
    values = {"tok_emb": model.wte(ids), "pos_emb": model.wpe.weight.value[None, :T]}
    values["x"] = model.wpe(values["tok_emb"])
    values["ln1"] = block.ln_1(values["x"])
    values["qkv"] = attn.c_attn(values["ln1"])
    q, k, v = values["qkv"].reshape(B, T, 3, attn.num_heads, -1).transpose(2, 0, 3, 1, 4)  # (B, H, T, K) each
    values |= {"q": q, "k": k, "v": v, "att": q @ k.swapaxes(2, 3) / np.sqrt(np.float32(q.shape[-1]))}
    output = attn(values["ln1"], return_weights=True)
    values |= {"attSm": output.weights, "yProj": output.y}
    values["y"] = (output.weights @ v).transpose(0, 2, 1, 3).reshape(B, T, -1)
    values["attnResid"] = values["x"] + output.y
    values["ln2"] = block.ln_2(values["attnResid"])
    values["fc"] = mlp.c_fc(values["ln2"])
    values["gelu"] = activations.gelu_tanh.forward(values["fc"])[0]
    values["mlp"] = mlp.c_proj(values["gelu"])
    values["mlpResid"] = values["attnResid"] + values["mlp"]
    for number, each in enumerate(model.h):
        values[f"block{number}"] = each(values["x"] if number == 0 else values[f"block{number - 1}"])
    values["ln_f"] = model.ln_f(values["block2"])
    values["lm_head"] = model.logits(ids)[0]
    values["probs"] = softmax.forward(values["lm_head"])[0]
    assert set(values) == set(wanted) - {"idx"}
    for name, value in values.items():
        stored, seen = wanted[name], np.isfinite(wanted[name]) & (np.abs(wanted[name]) < 1e9)
        assert value.shape == stored.shape, name
        assert np.abs(value - stored)[seen].max() < 1e-4, name
    assert seen.all()


def test_the_commands_read_the_models_of_characters(tmp_path, capsys):
    """Converted with their tokens: a name, and six letters in their order."""
    (tmp_path / "abc.json").write_text('["A", "B", "C"]')
    for folder, tokens in (
        ("gpt2-makemore-names", place("gpt2-makemore-names", "vocab.json")),
        ("gpt2-nano-sort", tmp_path / "abc.json"),
    ):
        assert cli.main(["convert", place(folder, "hf"), str(tmp_path / folder), "--vocabulary", str(tokens)]) == 0
    capsys.readouterr()
    sorter = ["generate", "--weights", str(tmp_path / "gpt2-nano-sort"), "--prompt", "CBABCA", "--tokens", "5"]
    assert cli.main([*sorter, "--temperature", "0.01"]) == 0
    assert capsys.readouterr().out.strip() == "CBABCAAABBC"
    names = str(tmp_path / "gpt2-makemore-names")
    assert cli.main(["generate", "--weights", names, "--tokens", "14", "--seed", "3"]) == 0
    assert 3 < len(capsys.readouterr().out.strip()) < 15
    assert cli.main(["explain", "--weights", names, "--text", "\nEmma", "--out", str(tmp_path / "e.html")]) == 0
    assert "4 predicted" in capsys.readouterr().out
    corpus = place("gpt2-makemore-names", "names.txt")
    assert cli.main(["evaluate", "--weights", names, "--corpus", corpus, "--lines", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(1.497, abs=0.001)


# --- recurrent language models ----------------------------------------------------------------------------------------------


@needs_corpora
def test_the_plays_of_tensorflow_char_rnn(tmp_path, capsys):
    """Its validation part is the text's nineteenth twentieth; result.json has its perplexity there. By the commands, too."""
    folder = place("lstm-shakespeare-tf")
    with open(os.path.join(folder, "result.json"), encoding="utf-8") as file:
        perplexity = json.load(file)["best_valid_ppl"]
    with open(os.path.join(CORPORA, "tinyshakespeare.txt"), encoding="utf-8") as file:
        text = file.read()
    (tmp_path / "valid.txt").write_text(text[int(0.9 * len(text)) : int(0.95 * len(text))], encoding="utf-8")
    assert cli.main(["convert", folder, str(tmp_path / "lstm")]) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", "--weights", str(tmp_path / "lstm"), "--corpus", str(tmp_path / "valid.txt"), "--json"]) == 0
    loss = json.loads(capsys.readouterr().out)["loss"]
    assert loss == pytest.approx(1.465, abs=0.001) and loss == pytest.approx(np.log(perplexity), abs=0.003)
    assert cli.main(["generate", "--weights", str(tmp_path / "lstm"), "--prompt", "KING", "--tokens", "20"]) == 0
    assert cli.main(["explain", "--weights", str(tmp_path / "lstm"), "--text", "To be", "--out", str(tmp_path / "e.html")]) == 0


def test_the_novel_of_charrnn():
    model, own = models.convert_from(place("lstm-charrnn"))
    with gzip.open(place("lstm-charrnn", "bronte.txt.gz"), "rt", encoding="utf-8", newline="") as file:
        text = file.read()
    middle = own["tokenizer.json"].encode(text[len(text) // 2 - 20_000 : len(text) // 2 + 20_000])
    assert training.evaluate(model, middle).loss == pytest.approx(1.32, abs=0.02)


def test_the_words_of_the_book(tmp_path):
    """Its text, the Penn Treebank, is not here: its formula on the file's own arrays is; and its sentences are of that text."""
    model, own = models.convert_from(place("lstm-ptb-book"))
    tokenizer, arrays = own["tokenizer.json"], arrays_of("lstm-ptb-book", "model.safetensors")
    with open(place("lstm-ptb-book", "ptb_vocab.json"), encoding="utf-8") as file:
        number = {word: id for id, word in enumerate(json.load(file))}
    text = "the company said it expects net income of N million dollars in the third quarter\n"
    rows = [number[word] for word in text.replace("\n", " <eos>").split()]
    logits = layers_of(arrays, arrays["embedding.weight"][rows])[-1] @ arrays["output.weight"].T + arrays["output.bias"]
    order = [number[word] for word in tokenizer.vocabulary]
    ids = tokenizer.encode(text)
    assert np.abs(model.logits(ids[None])[0][0] - logits[:, order]).max() < 1e-4
    assert np.exp(float(model.loss(ids[None, :-1], ids[None, 1:])[0])) < 100  # of 10,000 words


@pytest.mark.parametrize("name", ["model.safetensors", "textgenrnn_weights.hdf5"])
def test_the_titles_of_textgenrnn(name):
    """Its titles are not here; the formula on the file's own arrays is, of windows that begin with padding and of whole ones.

    Keras's own file, with CuDNN's order of the numbers, gives the same weights as the one that others turned into PyTorch's.
    """
    if name.endswith("hdf5"):
        pytest.importorskip("h5py")
    model, _ = models.convert_from(place("lstm-textgenrnn", name))
    arrays = arrays_of("lstm-textgenrnn", "model.safetensors")
    ids = np.random.default_rng(0).integers(1, 100, 60)
    logits, _ = model.logits(ids[None])  # (1, T, V)
    for end in (1, 11, 40, 60):
        window = np.concatenate([np.zeros(max(0, 40 - end), np.int64), ids[max(0, end - 40) : end]])
        z = np.concatenate(layers_of(arrays, arrays["embedding.weight"][window]), axis=1)  # (W, C)
        a = np.exp(z @ arrays["attention.weight"])
        wanted = arrays["output.weight"] @ (a @ z / a.sum()) + arrays["output.bias"]
        assert np.abs(logits[0, end - 1] - wanted).max() < 1e-3
    state = model.initial_state(1)
    for t in range(3):
        step, state = model.step(ids[t : t + 1], state)
        assert np.abs(step - logits[:, t]).max() < 1e-4


WORDS = ["natural", "naturally", "national", "rational", "neural", "picture", "structure", "nation", "torture", "languages"]


def test_the_words_of_chars2vec(tmp_path, capsys):
    """Keras 2's hard_sigmoid, clip(x / 5 + 1 / 2): the formula, and the nearest word."""
    pytest.importorskip("h5py")
    from minilm.sequential import load_model

    assert cli.main(["convert", place("lstm-chars2vec"), str(tmp_path / "words.keras")]) == 0
    model = load_model(tmp_path / "words.keras")
    with open(place("lstm-chars2vec", "char_to_ix.json"), encoding="utf-8") as file:
        number = json.load(file)
    vectors = np.concatenate([model.predict(np.eye(59)[[number[c] for c in word]][None], verbose=0) for word in WORDS])
    arrays, x = arrays_of("lstm-chars2vec", "model.safetensors"), np.eye(59)[[number[c] for c in "natural"]]
    for layer in range(2):
        h = c = np.zeros(50)
        rows = []
        for step in x:
            a = arrays[f"weight_ih_l{layer}"] @ step + arrays[f"weight_hh_l{layer}"] @ h + arrays[f"bias_ih_l{layer}"]
            i, f, g, o = np.split(a, 4)
            c = np.clip(f / 5 + 0.5, 0, 1) * c + np.clip(i / 5 + 0.5, 0, 1) * np.tanh(g)
            h = np.clip(o / 5 + 0.5, 0, 1) * np.tanh(c)
            rows.append(h)
        x = np.array(rows)
    assert np.abs(vectors[0] - h).max() < 1e-5
    distances = np.linalg.norm(vectors[1:] - vectors[0], axis=1)
    assert WORDS[1 + distances.argmin()] == "naturally"


# --- encoder-decoders -------------------------------------------------------------------------------------------------------


@needs_corpora
def test_a_thousand_dates_of_the_book():
    model, own = models.convert_from(place("seq2seq-dates-book"))
    with open(os.path.join(CORPORA, "date.txt"), encoding="utf-8") as file:
        pairs = [line.rstrip("\n").split("_") for line in file]
    chosen = [pairs[place] for place in np.random.default_rng(0).permutation(len(pairs))[:1000]]
    tokenizer = own["source.json"]
    source = np.stack([tokenizer.encode(text) for text, _ in chosen])  # (N, 29), filled up with spaces
    drawn = greedy(model, source, tokenizer.encode("_")[0], 10)
    assert [tokenizer.decode(row) for row in drawn] == [date for _, date in chosen]


def test_the_phonemes_of_g2p():
    model, own = models.convert_from(place("gru-g2p"))
    letters, phonemes = own["source.json"], own["target.json"]
    begin, end = (phonemes.token_to_id(token) for token in ("<s>", "</s>"))
    drawn = greedy(model, letters.encode(" ".join("transformer") + " </s>")[None], begin, 20)[0].tolist()
    assert phonemes.decode(drawn[: drawn.index(end)]) == "T R AE0 N S F AO1 R M ER0"


@needs_corpora
@pytest.mark.parametrize(
    "name, source, target",
    [
        ("transformer-aren", "آتزمون", "a t z m o n"),
        ("seq2seq-dates-book", "september 27, 1994", "1994-09-27"),
        ("gru-g2p", "transformer", "T R AE0 N S F AO1 R M ER0"),
    ],
)
def test_the_commands_take_encoder_decoders(name, source, target, tmp_path, capsys):
    """Their tokens, where a target begins and ends, and blanks behind a date: convert writes what it knows of them."""
    folder = str(tmp_path / "model")
    assert cli.main(["convert", place(name), folder]) == 0
    capsys.readouterr()
    for command in (["generate", "--weights", folder, "--prompt", source], ["try", folder, source]):
        assert cli.main(command) == 0
        assert capsys.readouterr().out == f"{target}\n"
    assert cli.main(["explain", folder, "--text", source, "--out", str(tmp_path / "e.html")]) == 0
    if name == "seq2seq-dates-book":
        with open(os.path.join(CORPORA, "date.txt"), encoding="utf-8") as file:
            (tmp_path / "dates.txt").write_text("".join(line for _, line in zip(range(100), file, strict=False)))
        capsys.readouterr()
        assert cli.main(["evaluate", folder, "--corpus", str(tmp_path / "dates.txt"), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["exact"] == 1 and result["tokens"] == 1000 and result["loss"] < 0.001


def test_the_names_of_ctranslate2(tmp_path):
    """Arabic names in Latin letters, greedily, by the kernels for encoder-decoders; and the folder that the command writes is the
    same model."""
    assert cli.main(["convert", place("transformer-aren"), str(tmp_path / "aren")]) == 0
    model, own = models.convert_from(place("transformer-aren"))
    again = models.load(tmp_path / "aren" / "model.safetensors")
    arabic, latin = own["source.json"], own["target.json"]
    begin, end = (latin.token_to_id(token) for token in ("<s>", "</s>"))
    for name, wanted in {"آ ت ز م و ن": "a t z m o n", "آ ت ش ي س و ن": "a c h i s o n"}.items():
        for each in (model, again):
            drawn = greedy(each, arabic.encode(name)[None], begin, 12)[0].tolist()
            assert latin.decode(drawn[: drawn.index(end)]) == wanted
        source = arabic.encode(name)[None]
        (written,) = generation.greedy_targets(model, source, begin=begin, end=end, tokens=12)
        assert latin.decode(written) == wanted
    assert reader_of(model, model.encode(source).cache, TransformerReader) is not None
