"""Folders as they are published: how transformers names things, and what goes out again."""

import contextlib
import json
import os

import numpy as np
import pytest
import safetensors.numpy

from minilm import generation, models
from minilm.layers.hooks import hooks
from tests.models.test_pretrained import BERT, GPT, disturbed

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PEERS = {
    "gpt2": (transformers.GPT2LMHeadModel, transformers.GPT2Config, models.GPT, GPT),
    "openai-gpt": (transformers.OpenAIGPTLMHeadModel, transformers.OpenAIGPTConfig, models.GPT, GPT),
    "bert": (transformers.BertForPreTraining, transformers.BertConfig, models.BERTForPreTraining, BERT),
}
IDS = np.random.default_rng(0).integers(1, 50, (3, 12))  # (B, T)


def made(family, folder, **more):
    """A peer with random weights, saved; and our class."""
    peer, config, ours, sizes = PEERS[family]
    peer = disturbed(peer(config(**{**sizes, **more})))
    peer.save_pretrained(folder)
    return peer, ours


def changed(folder, *without, **fields):
    """Rewrite config.json with other fields."""
    path = folder / "config.json"
    config = {name: value for name, value in json.loads(path.read_text()).items() if name not in without}
    path.write_text(json.dumps({**config, **fields}))
    return {**config, **fields}


def content(folder, name="config.json"):
    return json.loads((folder / name).read_text())


def logits(model):
    if isinstance(model, torch.nn.Module):
        with torch.no_grad():
            found = model.eval()(torch.from_numpy(IDS))
        return (found.prediction_logits if hasattr(found, "prediction_logits") else found.logits).numpy()
    return model.logits(IDS)[0]


def close(a, b):
    return np.abs(logits(a) - logits(b)).max() <= 1e-5 * np.abs(logits(b)).max()


# --- names -----------------------------------------------------------------------------------------------------------

SYNONYMS = {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads"}
SYNONYMS["n_positions"] = "max_position_embeddings"


@pytest.mark.parametrize("family", ["gpt2", "openai-gpt"])
def test_every_synonym_that_transformers_accepts_is_honoured_or_refused(family, tmp_path):
    """One at a time and all together; the list is transformers' own."""
    peer, ours = made(family, tmp_path, n_inner=4 * GPT["n_embd"]) if family == "gpt2" else made(family, tmp_path)
    assert {name: main for main, name in SYNONYMS.items()} == type(peer.config).attribute_map
    plain = content(tmp_path)
    for mains in [[main] for main in SYNONYMS] + [list(SYNONYMS)]:
        (tmp_path / "config.json").write_text(json.dumps(plain))
        changed(tmp_path, *mains, **{SYNONYMS[main]: GPT[main] for main in mains})
        model = ours.from_pretrained(tmp_path)
        assert close(model, type(peer).from_pretrained(tmp_path))
        model.save_pretrained(tmp_path / "out")
        assert close(type(peer).from_pretrained(tmp_path / "out"), peer)
    for main, name in SYNONYMS.items():
        (tmp_path / "config.json").write_text(json.dumps(plain))
        changed(tmp_path, **{name: GPT[main]})  # both, and they agree
        assert close(ours.from_pretrained(tmp_path), peer)
        changed(tmp_path, **{name: 2 * GPT[main]})
        with pytest.raises(ValueError, match=rf"config\.json: {name} = {2 * GPT[main]} and {main} = {GPT[main]} are two names"):
            ours.from_pretrained(tmp_path)


@pytest.mark.parametrize("family", PEERS)
def test_the_family_is_that_of_the_class_where_the_folder_does_not_say(family, tmp_path):
    peer, ours = made(family, tmp_path)
    changed(tmp_path, "model_type")
    assert close(ours.from_pretrained(tmp_path), peer)  # by architectures
    changed(tmp_path, "architectures", **({"afn": "gelu"} if family == "openai-gpt" else {}))
    model = ours.from_pretrained(tmp_path)  # by the class that reads it
    assert close(model, peer)
    model.save_pretrained(tmp_path / "out")
    assert content(tmp_path / "out")["model_type"] == family
    changed(tmp_path, architectures=["BertForMaskedLM" if family != "bert" else "GPT2LMHeadModel"])
    with pytest.raises(ValueError, match=f"{ours.__name__} reads model_type .*{family}"):
        ours.from_pretrained(tmp_path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("family", PEERS)
def test_weights_of_a_wrapped_model(family, prefix, tmp_path):
    """As DataParallel and torch.compile name them, in one file or in several."""
    peer, ours = made(family, tmp_path)
    arrays = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    safetensors.numpy.save_file({prefix + name: array for name, array in arrays.items()}, tmp_path / "model.safetensors")
    assert close(ours.from_pretrained(tmp_path), peer)
    inside = {name.replace("h.1.", "h.1._orig_mod.").replace("layer.1.", "layer.1._orig_mod."): a for name, a in arrays.items()}
    safetensors.numpy.save_file(inside, tmp_path / "model.safetensors")
    assert close(ours.from_pretrained(tmp_path), peer)
    safetensors.numpy.save_file({**arrays, prefix + sorted(arrays)[0]: arrays[sorted(arrays)[0]]}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="are the same weight"):
        ours.from_pretrained(tmp_path)


# --- untied heads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", PEERS)
def test_untied_heads(family, tmp_path):
    peer, ours = made(family, tmp_path / "peer", tie_word_embeddings=False)
    model = ours.from_pretrained(tmp_path / "peer")
    assert not model.config.tie_word_embeddings and close(model, peer)
    model.save_pretrained(tmp_path / "ours")
    back, info = type(peer).from_pretrained(tmp_path / "ours", output_loading_info=True)
    # of two biases of an untied BERT's decoder transformers uses one, and that one is there
    assert not info["unexpected_keys"] and set(info["missing_keys"]) <= {"cls.predictions.bias"} and close(back, peer)
    again = ours.from_pretrained(tmp_path / "ours")
    assert all(np.array_equal(a, b) for a, b in zip(again.parameters.values(), model.parameters.values(), strict=True))
    if family != "bert":
        assert model.parameters.count == model.config.parameter_count


@pytest.mark.parametrize("family", PEERS)
def test_an_untied_head_that_is_not_there(family, tmp_path):
    """The tokens' table does not stand in for it, unless the folder says that it is the head, too."""
    _, ours = made(family, tmp_path, tie_word_embeddings=False)
    arrays = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    head = "cls.predictions.decoder.weight" if family == "bert" else "lm_head.weight"
    tables = ("wte.weight", "tokens_embed.weight", "word_embeddings.weight")
    table = next(array for name, array in arrays.items() if name.endswith(tables))
    safetensors.numpy.save_file({name: a for name, a in arrays.items() if name != head}, tmp_path / "model.safetensors")
    if family == "bert":
        with pytest.warns(UserWarning, match=f"lacks {head}"):
            assert not np.array_equal(ours.from_pretrained(tmp_path).parameters[head], table)
    else:
        with pytest.raises(ValueError, match=f"missing {head}"):
            ours.from_pretrained(tmp_path)
    changed(tmp_path, tie_word_embeddings=True)
    model = ours.from_pretrained(tmp_path, tie_word_embeddings=False)  # to be untied from now on
    np.testing.assert_array_equal(model.parameters[head], table)


def test_gradients_of_an_untied_head(tmp_path):
    peer, ours = made("gpt2", tmp_path, tie_word_embeddings=False, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    model = ours.from_pretrained(tmp_path, dtype=np.float64)
    _, saved = model.forward(IDS[:, :-1], IDS[:, 1:])
    model.backward(saved)
    ids = torch.from_numpy(IDS)
    wanted = peer.double()(ids[:, :-1]).logits.reshape(-1, GPT["vocab_size"])
    torch.nn.functional.cross_entropy(wanted, ids[:, 1:].reshape(-1)).backward()
    for name, wanted in {"lm_head.weight": peer.lm_head.weight, "wte.weight": peer.transformer.wte.weight}.items():
        found = model.parameters.entry(name).gradient
        assert np.abs(found - wanted.grad.numpy()).max() < 1e-8 * np.abs(found).max()


def test_a_head_that_differs_although_it_is_said_to_be_tied(tmp_path):
    """transformers 4 reads the table, transformers 5 the head: nobody should guess."""
    peer, ours = made("gpt2", tmp_path, tie_word_embeddings=False)
    changed(tmp_path, tie_word_embeddings=True)
    with pytest.raises(ValueError, match='differs from .*"tie_word_embeddings": false in config.json reads both'):
        ours.from_pretrained(tmp_path)


@pytest.mark.parametrize("ours", [models.BERT, models.BERTForSequenceClassification, models.BERTForTokenClassification])
def test_an_untied_head_that_the_class_has_not(ours, tmp_path):
    """What the table does not equal is of another head: it is left out, whether the table is tied to it or not."""
    peer, _ = made("bert", tmp_path, tie_word_embeddings=False)
    with pytest.warns(UserWarning, match="start anew") if ours is not models.BERT else contextlib.nullcontext():
        model = ours.from_pretrained(tmp_path)
    body = model if ours is models.BERT else model.bert
    with torch.no_grad():
        wanted = peer.bert(torch.from_numpy(IDS)).last_hidden_state.numpy()
    np.testing.assert_allclose(body.forward(IDS)[0].hidden, wanted, atol=1e-5)


# --- what came in goes out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", PEERS)
def test_what_came_in_goes_out(family, tmp_path):
    peer, ours = made(family, tmp_path / "in")
    special = {"bos_token_id": 3, "eos_token_id": [4, 5], "pad_token_id": None, "id2label": {"0": "good", "1": "bad"}}
    special |= {"label2id": {"good": 0, "bad": 1}, "problem_type": "multi_label_classification", "task": {"deep": [1, None]}}
    special |= {"n_inner": None} if family == "gpt2" else {"hidden_act": "gelu_new"} if family == "bert" else {}
    given = changed(tmp_path / "in", **special)
    (tmp_path / "in" / "generation_config.json").write_text(json.dumps({"eos_token_id": 7, "top_k": 3}))
    ours.from_pretrained(tmp_path / "in").save_pretrained(tmp_path / "out")
    assert content(tmp_path / "out") == {**given, "architectures": content(tmp_path / "out")["architectures"]}
    assert content(tmp_path / "out", "generation_config.json") == {"eos_token_id": 7, "top_k": 3}
    ours.from_pretrained(tmp_path / "out").save_pretrained(tmp_path / "out")  # in the folder that it was read from
    assert content(tmp_path / "out")["task"] == {"deep": [1, None]}


def test_what_was_changed_goes_out_changed(tmp_path):
    bert = disturbed(transformers.BertForSequenceClassification(transformers.BertConfig(**BERT, num_labels=3)))
    bert.save_pretrained(tmp_path / "in")
    changed(tmp_path / "in", id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2}, mine=1)
    kind = models.BERTForSequenceClassification
    kind.from_pretrained(tmp_path / "in", dtype=np.float64, hidden_dropout_prob=0.25).save_pretrained(tmp_path / "out")
    found = content(tmp_path / "out")
    assert (found["hidden_dropout_prob"], found["id2label"]["2"], found["dtype"], found["mine"]) == (0.25, "c", "float64", 1)
    arrays = safetensors.numpy.load_file(tmp_path / "in" / "model.safetensors")
    kept = {name: array for name, array in arrays.items() if not name.startswith("classifier.")}
    safetensors.numpy.save_file(kept, tmp_path / "in" / "model.safetensors")
    with pytest.warns(UserWarning, match="start anew"):
        model = kind.from_pretrained(tmp_path / "in", num_labels=2)
    assert model.new_parameters == ("classifier.weight", "classifier.bias")
    model.save_pretrained(tmp_path / "out")
    assert content(tmp_path / "out")["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    assert transformers.BertForSequenceClassification.from_pretrained(tmp_path / "out").num_labels == 2


def test_no_padding_token_stays_none(tmp_path):
    """And its row of the table, which is then a token like any other, learns."""
    _, ours = made("bert", tmp_path, pad_token_id=None)
    model = ours.from_pretrained(tmp_path)
    assert model.config.pad_token_id is None and type(model.config).from_dict(model.config.to_dict()) == model.config
    dy = np.tile(np.arange(16, dtype=np.float32) ** 2, (1, 4, 1))  # (B, T, D)
    for each, learns in ((model, True), (ours.from_pretrained(tmp_path, pad_token_id=0), False)):
        _, saved = each.bert.forward(np.array([[2, 0, 3, 4]]))
        each.bert.backward((dy, None), saved)
        assert each.bert.embeddings.word_embeddings.weight.gradient[0].any() == learns


# --- where a text ends -----------------------------------------------------------------------------------------------

CONFIGS = [
    ({}, None),
    ({"eos_token_id": 3}, None),
    ({"eos_token_id": [3, 4]}, None),
    ({"eos_token_id": None}, None),
    ({"eos_token_id": 3}, {}),
    ({"eos_token_id": 3}, {"eos_token_id": None}),
    ({"eos_token_id": 3}, {"eos_token_id": 5}),
    ({"eos_token_id": 3}, {"eos_token_id": [5, 6]}),
]


@pytest.mark.parametrize(("config", "generating"), CONFIGS, ids=str)
def test_the_tokens_that_end_a_text_are_those_of_transformers(config, generating, tmp_path):
    peer, ours = made("gpt2", tmp_path)
    changed(tmp_path, "eos_token_id", **config)
    if generating is None:
        (tmp_path / "generation_config.json").unlink()
    else:
        (tmp_path / "generation_config.json").write_text(json.dumps(generating))
    wanted = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).generation_config.eos_token_id
    found = ours.from_pretrained(tmp_path).end_ids
    assert list(found) == ([] if wanted is None else wanted if isinstance(wanted, list) else [wanted])


@pytest.mark.parametrize("wrong", ["3", [None], True, 2.0, -1])
def test_an_end_of_text_that_is_no_token(wrong, tmp_path):
    _, ours = made("gpt2", tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": wrong}))
    with pytest.raises(ValueError, match=r"generation_config\.json: eos_token_id must be"):
        ours.from_pretrained(tmp_path)


def test_a_beam_search_ends_where_that_of_transformers_ends(tmp_path):
    peer, ours = made("gpt2", tmp_path)
    prompt = IDS[0, :4]
    first = generation.beam_search(ours.from_pretrained(tmp_path), prompt, 10, 3)[0].ids
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [int(first[4]), 60], "pad_token_id": 0}))
    peer = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    options = {"max_new_tokens": 10, "num_beams": 3, "early_stopping": False, "length_penalty": 0.0, "do_sample": False}
    with torch.no_grad():
        wanted = peer.generate(torch.from_numpy(prompt[None]), attention_mask=torch.ones(1, 4, dtype=torch.long), **options)
    wanted = wanted[0, 4:].tolist()
    found = generation.beam_search(ours.from_pretrained(tmp_path), prompt, 10, 3)[0].ids.tolist()
    assert found == wanted[: len(found)] and found[-1] in (first[4], 60) and len(found) < 10
    assert len(generation.beam_search(ours.from_pretrained(tmp_path), prompt, 10, 3, end=())[0].ids) == 10


# --- weights of others -----------------------------------------------------------------------------------------------

WEIGHTS = os.environ.get("MINILM_TEST_WEIGHTS", "")
needs_weights = pytest.mark.skipif(not WEIGHTS, reason="MINILM_TEST_WEIGHTS names no folder")


@needs_weights
def test_names_from_a_published_model_of_characters(tmp_path):
    """Untied, of 15 positions: its logits, and its loss on names."""
    folder = os.path.join(WEIGHTS, "gpt2-makemore-names")
    model, example = models.GPT.from_pretrained(os.path.join(folder, "hf")), np.load(os.path.join(folder, "example.npz"))
    assert np.abs(model.logits(example["ids"])[0] - example["logits"]).max() < 1e-4
    with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as file:
        number = {letter: id for id, letter in enumerate(json.load(file))}
    with open(os.path.join(folder, "names.txt"), encoding="utf-8") as file:
        names = [name for name in file.read().split("\n") if 0 < len(name) < 15 and set(name) <= set(number)]
    ids, targets = np.zeros((len(names), 15), np.int64), np.full((len(names), 15), -100)
    for b, name in enumerate(names):
        row = [number[letter] for letter in name]
        ids[b, 1 : len(row) + 1], targets[b, : len(row) + 1] = row, [*row, 0]
    assert float(model.loss(ids, targets)) == pytest.approx(1.497, abs=0.01) and len(names) > 1000
    model.save_pretrained(tmp_path)
    assert np.array_equal(models.GPT.from_pretrained(tmp_path).logits(ids)[0], model.logits(ids)[0])
    drawn = list(generation.stream_ids(model, np.zeros((200, 1), np.int64), 30, seed=1))  # (200,) each
    ended = [(row == 0).argmax() for row in np.stack(drawn, axis=1) if (row == 0).any()]
    assert len(ended) > 150 and 4 < np.mean(ended) < 9  # names end, by its end of text
    assert model.end_ids == (0,)


@needs_weights
def test_a_published_model_that_sorts():
    """Every block's output, and all 729 inputs."""
    folder = os.path.join(WEIGHTS, "gpt2-nano-sort")
    model, wanted = models.GPT.from_pretrained(os.path.join(folder, "hf")), np.load(os.path.join(folder, "partials.npz"))
    ids = wanted["idx"].astype(np.int64)
    with hooks(model, "h.*") as outputs:
        model.forward(ids, ids)
    for number in range(3):
        assert np.abs(outputs[f"h.{number}"] - wanted[f"block{number}"]).max() < 1e-5
    assert np.abs(model.logits(ids)[0] - wanted["lm_head"]).max() < 1e-4
    every = np.stack(np.meshgrid(*[np.arange(3)] * 6), axis=-1).reshape(-1, 6)  # (729, 6)
    drawn = np.stack(list(generation.stream_ids(model, every, 6, greedy=True)), axis=1)  # (729, 6)
    assert np.array_equal(drawn, np.sort(every, axis=1))
