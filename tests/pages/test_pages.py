"""Each page of a model computes what the full model computes, and its training loop learns."""

import inspect
import runpy
import sys

import numpy as np
import pytest

from minilm import data, generation, models
from minilm.pages import PAGES, bert, gpt, llama, rnn_lm, seq2seq, tagger, transformer, word2vec

FLOAT64 = {"seed": 1, "dtype": np.float64}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def weights_of(model, rng):
    """Random weights of a model, none of them 0 or 1, which are also put into it."""
    for name in model.parameters:
        model.parameters[name][...] += rng.normal(0, 0.3, model.parameters[name].shape)
    return {name: model.parameters[name].copy() for name in model.parameters}


def assert_equal(model, loss, wanted, dW):
    """The page's loss and every gradient are the model's, to 1e-12."""
    assert loss == pytest.approx(wanted, rel=1e-12)
    assert set(dW) == set(model.parameters)
    for name, gradient in dW.items():
        np.testing.assert_allclose(gradient, model.parameters.entry(name).gradient, rtol=1e-12, atol=1e-12, err_msg=name)


def shapes(W):
    return {name: w.shape for name, w in W.items()}


def test_rnn_lm(rng):
    config = models.RNNLanguageModelConfig(vocab_size=11, cell="lstm", embedding_size=5, hidden_size=6)
    model = models.RNNLanguageModel(config, **FLOAT64)
    W = weights_of(model, rng)
    assert shapes(rnn_lm.weights(11, 5, 6, rng)) == shapes(W)
    ids, targets, state = rng.integers(0, 11, (3, 7)), rng.integers(0, 11, (3, 7)), rng.normal(size=(2, 3, 6))
    wanted, saved = model.forward(ids, targets, (state[:1], state[1:]))
    model.backward(saved)
    loss, (h, c), saved = rnn_lm.forward(W, ids.T.copy(), targets.T.copy(), tuple(state))
    assert_equal(model, loss, wanted, rnn_lm.backward(saved))
    after = model.loss(ids, targets, (state[:1], state[1:]))[1]
    np.testing.assert_allclose([h, c], np.concatenate(after), rtol=1e-12)
    assert rnn_lm.write(W, [1, 2, 3], 20) == greedy(model, [1, 2, 3], 20)


def greedy(model, prompt, tokens):
    """The ids of a prompt and what the model writes after it."""
    return [*prompt, *(int(ids[0]) for ids in generation.stream_ids(model, np.array([prompt]), tokens, greedy=True))]


@pytest.mark.parametrize("positions", [7, 9])  # a text as long as the context, and a shorter one
def test_gpt(rng, positions):
    config = models.GPTConfig.gpt2(n_layer=2, n_head=2, n_embd=8, n_positions=positions, vocab_size=11, **NO_DROPOUT)
    model = models.GPT(config, **FLOAT64)
    W = weights_of(model, rng)
    assert shapes(gpt.weights(11, positions, 8, 2, rng)) == shapes(W)
    ids, targets = rng.integers(0, 11, (2, 3, 7))
    targets[0, 3:] = -100
    wanted, saved = model.forward(ids, targets)
    model.backward(saved)
    loss, saved = gpt.forward(W, ids, targets, 2)
    assert_equal(model, loss, wanted, gpt.backward(saved))
    assert gpt.write(W, [1, 2, 3], positions - 3, 2) == greedy(model, [1, 2, 3], positions - 3)


def llama_weights(rng, base):
    """Random weights of a small Llama, none of them 0 or 1."""
    W = llama.weights(11, 12, 6, 2, 20, 2, rng, np.float64)
    return {name: w + rng.normal(0, 0.3, w.shape) for name, w in W.items()}


def test_llama_is_that_of_transformers(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    W = llama_weights(rng, 500.0)
    sizes = {"vocab_size": 11, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": llama.EPS}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "rope_theta": 500.0}
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads, **rope)).double()
    theirs.load_state_dict({name: torch.from_numpy(w) for name, w in W.items()})
    ids, targets = rng.integers(0, 11, (2, 3, 7))
    targets[0, 3:] = -100
    logits = theirs(torch.from_numpy(ids)).logits
    wanted = torch.nn.functional.cross_entropy(logits.reshape(-1, 11), torch.from_numpy(targets).reshape(-1))
    wanted.backward()
    loss, saved = llama.forward(W, ids, targets, 6, base=500.0)
    dW = llama.backward(saved)
    assert loss == pytest.approx(wanted.item(), rel=1e-6)  # their angles are float32's
    assert set(dW) == {name for name, _ in theirs.named_parameters()}
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(dW[name], parameter.grad.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
    written = theirs.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=30, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert llama.write(W, [1, 2, 3], 30, 6, base=500.0) == written[0].tolist()


def test_llama_gradients_by_differences(rng):
    W, h = llama_weights(rng, 10_000.0), 1e-6
    ids, targets = rng.integers(0, 11, (2, 2, 5))
    dW = llama.backward(llama.forward(W, ids, targets, 6)[1])
    assert shapes(dW) == shapes(W)
    for name, w in W.items():
        direction = rng.normal(size=w.shape)
        ends = [llama.forward({**W, name: w + sign * h * direction}, ids, targets, 6)[0] for sign in (1, -1)]
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(float((dW[name] * direction).sum()), rel=1e-6, abs=1e-9), name


def test_bert(rng):
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    sizes = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model = models.BERTForPreTraining(models.BERTConfig(**sizes, max_position_embeddings=9, **none), **FLOAT64)
    W = weights_of(model, rng)
    assert shapes(bert.weights(11, 9, 8, 2, rng)) == shapes(W)
    ids, segments = rng.integers(1, 11, (3, 7)), rng.integers(0, 2, (3, 7))
    targets = np.where(rng.random((3, 7)) < 0.4, rng.integers(0, 11, (3, 7)), -100)
    ids[1, 5:], targets[1, 5:], follows = bert.PAD, -100, rng.integers(0, 2, 3)
    wanted, saved = model.forward(ids, targets, segments, ids != bert.PAD, follows)
    model.backward(saved)
    loss, saved = bert.forward(W, ids, segments, targets, follows, 2)
    assert_equal(model, loss, wanted, bert.backward(saved))
    logits = bert.fill(W, bert.encode(W, ids, segments, 2)[0])[0]  # (B, T, V)
    np.testing.assert_allclose(logits, model.logits(ids, segments, ids != bert.PAD)[0], rtol=1e-11)


def written_by(model, source, lengths, most):
    """What a model writes for each source, greedily, up to and with END."""
    state, ids, rows = model.encode(source, lengths), np.full(len(source), seq2seq.BEGIN), []
    for _ in range(most):
        logits, state = model.step(ids, state)
        ids = logits.argmax(axis=1)
        rows.append(ids)
    return np.stack(rows, axis=1)


def test_seq2seq(rng):
    source, lengths, inputs, targets = seq2seq.backwards(3, rng)
    config = models.Seq2SeqConfig(vocab_size=13, hidden_size=6, embedding_size=8, attention="bahdanau")
    model = models.Seq2Seq(config, **FLOAT64)
    W = weights_of(model, rng)
    assert shapes(seq2seq.weights(13, 8, 6, rng)) == shapes(W)
    wanted, saved = model.forward(source, inputs, targets, lengths)
    model.backward(saved)
    loss, saved = seq2seq.forward(W, source, lengths, inputs, targets)
    assert_equal(model, loss, wanted, seq2seq.backward(saved))
    written = seq2seq.write(W, source, lengths, 12)
    np.testing.assert_array_equal(written, written_by(model, source, lengths, 12)[:, : written.shape[1]])


def test_transformer(rng):
    source, lengths, inputs, targets = transformer.backwards(3, rng)
    sizes = {"vocab_size": 13, "d_model": 8, "num_heads": 2, "encoder_layers": 2, "decoder_layers": 2}
    model = models.Transformer(models.TransformerConfig(**sizes, dropout=0.0, label_smoothing=0.0), **FLOAT64)
    W = weights_of(model, rng)
    assert shapes(transformer.weights(13, 8, 2, rng)) == shapes(W)
    wanted, saved = model.forward(source, inputs, targets, lengths)
    model.backward(saved)
    loss, saved = transformer.forward(W, source, lengths, inputs, targets, 2)
    assert_equal(model, loss, wanted, transformer.backward(saved))
    written = transformer.write(W, source, lengths, 12, 2)
    np.testing.assert_array_equal(written, written_by(model, source, lengths, 12)[:, : written.shape[1]])


def test_word2vec(rng):
    model = models.Word2Vec(models.Word2VecConfig(vocab_size=9, size=8), **FLOAT64)
    W = weights_of(model, rng)
    assert shapes(word2vec.weights(9, 8, rng)) == shapes(W)
    batch = rng.integers(0, 9, 5), rng.integers(0, 9, 5), rng.integers(0, 9, (5, 3))
    wanted, saved = model.forward(*batch)
    model.backward(saved)
    loss, saved = word2vec.forward(W, *batch)
    assert_equal(model, loss, wanted, word2vec.backward(saved))
    vectors = models.WordVectors([str(i) for i in range(9)], W["input"])
    assert [str(i) for i in word2vec.nearest(W, 4)] == [word for word, _ in vectors.nearest("4", 5)]


def test_tagger(rng):
    model = models.Tagger(20, 5, embedding_size=8, hidden_size=6, **FLOAT64)
    W = weights_of(model, rng)
    assert shapes(tagger.weights(20, 5, 8, 6, rng)) == shapes(W)
    ids, tags, lengths = rng.integers(0, 20, (3, 7)), rng.integers(0, 5, (3, 7)), np.array([7, 1, 4])
    wanted, saved = model.forward(ids, tags, lengths)
    model.backward(saved)
    loss, saved = tagger.forward(W, ids, tags, lengths)
    assert_equal(model, loss, wanted, tagger.backward(saved))
    np.testing.assert_array_equal(tagger.decode(W, ids, lengths), model.decode(ids, lengths))


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text():
    return "".join(data.text("stories"))[:200_000]


@pytest.mark.parametrize(
    "page, options, beats",
    [  # what the loss falls below; where it begins is log of the vocabulary: 4.1, 4.1, 4.1, 4.4, 2.6, 2.6
        (rnn_lm, {"steps": 100}, 2.6),
        (gpt, {"steps": 60, "T": 32}, 2.7),
        (llama, {"steps": 60, "T": 32}, 2.7),
        (bert, {"steps": 200}, 3.3),
        (seq2seq, {"steps": 150}, 1.2),
        (transformer, {"steps": 120}, 1.8),
        (tagger, {"steps": 60}, 1.5),
    ],
)
def test_training(page, options, beats, text):
    given = (text,) if "text" in inspect.signature(page.train).parameters else ()
    *_, loss = page.train(*given, **options, report=lambda line: None)
    assert loss < beats


def test_word2vec_training(text):
    W, vocabulary, loss = word2vec.train(text, epochs=2, report=lambda line: None)
    assert loss < 3.3  # log 2 for each of 6 answers at the beginning: 4.16
    capital = vocabulary.index("Karl") if "Karl" in vocabulary else 30
    assert len(word2vec.nearest(W, capital)) == 5


# --- form -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_a_page_stands_on_the_operations_alone(page):
    """Nothing but NumPy, the standard library and minilm.ops; no class; about a screen for each part."""
    import ast
    import importlib
    import pathlib

    source = pathlib.Path(importlib.import_module(f"minilm.pages.{page}").__file__).read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("minilm")]
    assert set(imported) <= {"minilm.ops"}
    assert len(source.splitlines()) <= 300
    train = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "train"]
    assert all(node.end_lineno - node.lineno <= 35 for node in train)


@pytest.mark.parametrize("name", ["rnn_lm", "gpt", "llama", "word2vec", "bpe", "wordpiece"])
def test_a_page_that_is_run_without_a_text_says_what_it_wants(name, monkeypatch):
    monkeypatch.setattr("sys.argv", [f"{name}.py"])
    monkeypatch.delitem(sys.modules, f"minilm.pages.{name}", raising=False)
    with pytest.raises(SystemExit, match=rf"usage: python -m minilm\.pages\.{name} FILE"):
        runpy.run_module(f"minilm.pages.{name}", run_name="__main__")
