import json

import numpy as np
import pytest
import safetensors.numpy

from minilm import layers, models
from minilm.models.gguf_writer import write_gguf
from minilm.weights import BERT, GPT2, OPENAI_GPT, load_weights, save_weights

from .helpers import D, V, bert_shapes, gpt2_shapes, gpt_shapes, model, same

LLAMA = {"vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
HEAD = {"lm_head.weight": "wte.weight"}
DECODER = {"cls.predictions.decoder.weight": "embeddings.word_embeddings.weight"}
FAMILIES = [
    (GPT2, gpt2_shapes(), {}),
    (GPT2, gpt2_shapes(), HEAD),
    (OPENAI_GPT, gpt_shapes(), HEAD),
    (BERT, bert_shapes(), DECODER),
    (BERT, bert_shapes("none"), {}),
    (BERT, bert_shapes("question"), {}),
    (BERT, bert_shapes("tokens"), {}),
]


def stored(folder):
    return safetensors.numpy.load_file(folder / "model.safetensors")


def store(folder, arrays):
    folder.mkdir(exist_ok=True)
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "model.safetensors"
    )


@pytest.mark.parametrize("keymap, shapes, ties", FAMILIES)
def test_there_and_back(tmp_path, keymap, shapes, ties):
    ours, other = model(shapes, 1, ties=ties), model(shapes, 2, ties=ties)
    save_weights(ours, tmp_path / "new", keymap)
    done = load_weights(other, tmp_path / "new", keymap)
    assert same(ours, other) and set(done.loaded) == set(shapes) and not done.missing and not done.unused
    # The prefix does not matter to us, on either side.
    bare = {name.removeprefix(keymap.prefix): array for name, array in stored(tmp_path / "new").items()}
    prefixed = model({keymap.prefix + name: shape for name, shape in shapes.items()}, 3)
    store(tmp_path / "bare", bare)
    load_weights(prefixed, tmp_path / "bare", keymap)
    for name, array in ours.parameters.items():
        np.testing.assert_array_equal(prefixed.parameters[keymap.prefix + name], array)


def test_gpt_weights_are_turned(tmp_path):
    ours = model(gpt2_shapes())
    save_weights(ours, tmp_path / "new", GPT2)
    arrays = stored(tmp_path / "new")
    assert arrays["transformer.h.0.attn.c_attn.weight"].shape == (D, 3 * D)
    for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        np.testing.assert_array_equal(arrays[f"transformer.h.1.{name}.weight"], ours.parameters[f"h.1.{name}.weight"].T)
    np.testing.assert_array_equal(arrays["transformer.wte.weight"], ours.parameters["wte.weight"])
    assert "lm_head.weight" not in arrays


def test_openai_names(tmp_path):
    save_weights(model(gpt_shapes(), ties=HEAD), tmp_path / "new", OPENAI_GPT)
    arrays = stored(tmp_path / "new")
    assert arrays["transformer.tokens_embed.weight"].shape == (V, D) and "transformer.positions_embed.weight" in arrays
    # A model that uses the family's own names is served too.
    names = {"wte.weight": "tokens_embed.weight", "wpe.weight": "positions_embed.weight"}
    load_weights(model({names.get(name, name): shape for name, shape in gpt_shapes().items()}), tmp_path / "new", OPENAI_GPT)


def test_older_names_and_what_is_no_weight(tmp_path):
    ours, other = model(bert_shapes(), 1), model(bert_shapes(), 2)
    save_weights(ours, tmp_path / "new", BERT)
    arrays = stored(tmp_path / "new")
    older = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in arrays.items()
    }
    assert set(older) != set(arrays)
    older["bert.embeddings.position_ids"] = np.arange(7)[None]
    older["cls.predictions.decoder.weight"] = arrays["bert.embeddings.word_embeddings.weight"]
    older["cls.predictions.decoder.bias"] = arrays["cls.predictions.bias"]
    store(tmp_path / "older", older)
    done = load_weights(other, tmp_path / "older", BERT)
    assert same(ours, other)
    assert set(done.unused) == {
        "bert.embeddings.position_ids",
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
    }
    ours = model(gpt2_shapes())
    save_weights(ours, tmp_path / "gpt", GPT2)
    arrays = stored(tmp_path / "gpt")
    masks = {f"transformer.h.{i}.attn.bias": np.ones((1, 1, 7, 7), np.uint8) for i in range(2)}
    masks |= {f"transformer.h.{i}.attn.masked_bias": np.float32(-1e4) for i in range(2)}
    store(tmp_path / "gpt", {**arrays, **masks})
    assert set(load_weights(ours, tmp_path / "gpt", GPT2).unused) == set(masks)


def test_tied_weights(tmp_path):
    ours = model(gpt2_shapes(), 1)
    save_weights(ours, tmp_path / "new", GPT2)
    arrays = stored(tmp_path / "new")
    table = arrays["transformer.wte.weight"]
    for ties in ({}, HEAD):
        both = model(gpt2_shapes(), 2, ties=ties)
        store(tmp_path / "both", {**arrays, "lm_head.weight": table})
        load_weights(both, tmp_path / "both", GPT2)
        assert same(ours, both)
        store(tmp_path / "other", {**arrays, "lm_head.weight": table + 1})
        with pytest.raises(ValueError, match="lm_head.weight differs from transformer.wte.weight, to which it is tied"):
            load_weights(both, tmp_path / "other", GPT2)
        store(tmp_path / "other", {**arrays, "lm_head.weight": table[:3]})
        with pytest.raises(ValueError, match=r"lm_head.weight has shape \(3, 6\), and transformer.wte.weight, .* \(13, 6\)"):
            load_weights(both, tmp_path / "other", GPT2)
        only = {name: array for name, array in arrays.items() if name != "transformer.wte.weight"}
        store(tmp_path / "only", {**only, "lm_head.weight": table})
        load_weights(both, tmp_path / "only", GPT2)
        assert same(ours, both)
    # A model whose head is a parameter of its own takes its own numbers, or the table's if there are none.
    untied = model({**gpt2_shapes(), "lm_head.weight": (V, D)}, 2)
    store(tmp_path / "other", {**arrays, "lm_head.weight": table + 1})
    load_weights(untied, tmp_path / "other", GPT2)
    np.testing.assert_array_equal(untied.parameters["lm_head.weight"], table + 1)
    load_weights(untied, tmp_path / "new", GPT2)
    np.testing.assert_array_equal(untied.parameters["lm_head.weight"], table)
    # Whichever of its two names comes first in our model, the file has the one that others look for.
    shapes = {"lm_head.weight" if name == "wte.weight" else name: shape for name, shape in gpt2_shapes().items()}
    first = model(shapes, 3, ties={"wte.weight": "lm_head.weight"})
    save_weights(first, tmp_path / "first", GPT2)
    assert "transformer.wte.weight" in stored(tmp_path / "first") and "lm_head.weight" not in stored(tmp_path / "first")
    again = model(shapes, 4, ties={"wte.weight": "lm_head.weight"})
    load_weights(again, tmp_path / "first", GPT2)
    assert same(first, again)


def test_every_fault_is_listed(tmp_path):
    ours = model(bert_shapes(), 1)
    before = ours.parameters.state_dict()
    save_weights(model(bert_shapes(), 2), tmp_path / "new", BERT)
    arrays = stored(tmp_path / "new")
    del arrays["bert.pooler.dense.bias"]
    arrays["bert.pooler.dense.weight"] = np.ones((D, D + 1), np.float32)
    arrays["bert.embeddings.LayerNorm.weight"] = np.ones(D, np.int32)
    arrays["bert.encoder.layer.2.output.dense.bias"] = np.ones(D, np.float32)
    arrays["embeddings.LayerNorm.beta"] = np.ones(D, np.float32)
    store(tmp_path / "new", arrays)
    with pytest.raises(ValueError) as caught:
        load_weights(ours, tmp_path / "new", BERT)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'new'} does not fit the model: ")
    for fault in [
        "missing bert.pooler.dense.bias",
        "bert.pooler.dense.weight has shape (6, 7), wanted (6, 6)",
        "bert.embeddings.LayerNorm.weight holds I32, wanted one of F64, F32, F16, BF16",
        "unexpected bert.encoder.layer.2.output.dense.bias",
        "are the same weight",
    ]:
        assert text.count(fault) == 1, fault
    assert text.count(";") == 4
    for name, array in before.items():  # nothing was changed
        np.testing.assert_array_equal(ours.parameters[name], array)


def test_a_turned_shape_is_named_as_it_is_stored(tmp_path):
    save_weights(model(gpt2_shapes()), tmp_path / "new", GPT2)
    arrays = stored(tmp_path / "new")
    arrays["transformer.h.0.mlp.c_fc.weight"] = arrays["transformer.h.0.mlp.c_fc.weight"].T
    store(tmp_path / "new", arrays)
    with pytest.raises(ValueError, match=r"h.0.mlp.c_fc.weight has shape \(24, 6\), wanted \(6, 24\)"):
        load_weights(model(gpt2_shapes()), tmp_path / "new", GPT2)


def test_other_heads(tmp_path):
    """A pretrained body under a new head: only what was allowed may be missing or left over."""
    save_weights(model(bert_shapes(), 1), tmp_path / "new", BERT)
    question = model(bert_shapes("question"), 2)
    before = question.parameters.state_dict()
    with pytest.raises(ValueError, match="missing qa_outputs.bias.*unexpected cls.predictions.bias"):
        load_weights(question, tmp_path / "new", BERT)
    with pytest.raises(ValueError, match="unexpected bert.pooler.dense.bias"):
        load_weights(question, tmp_path / "new", BERT, may_lack=["qa_outputs."], may_exceed=["cls."])
    done = load_weights(question, tmp_path / "new", BERT, may_lack=["qa_outputs."], may_exceed=["cls.", "pooler."])
    assert done.missing == ("qa_outputs.weight", "qa_outputs.bias") and "cls.predictions.bias" in done.unused
    np.testing.assert_array_equal(question.parameters["qa_outputs.weight"], before["qa_outputs.weight"])
    assert not np.array_equal(question.parameters["embeddings.LayerNorm.bias"], before["embeddings.LayerNorm.bias"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stored_dtype", [np.float16, np.float32, np.float64])
def test_dtypes(tmp_path, dtype, stored_dtype):
    ours = model(gpt_shapes(), 1, np.float64)
    save_weights(ours, tmp_path / "new", GPT2)
    arrays = {name: array.astype(stored_dtype) for name, array in stored(tmp_path / "new").items()}
    store(tmp_path / "new", arrays)
    other = model(gpt_shapes(), 2, dtype)
    load_weights(other, tmp_path / "new", GPT2)
    for name, array in ours.parameters.items():
        assert other.parameters[name].dtype == dtype
        np.testing.assert_array_equal(other.parameters[name], array.astype(stored_dtype).astype(dtype))


class Block(layers.Layer):
    """A model made of layers, whose parameters lie in one flat buffer."""

    def __init__(self, seed):
        super().__init__(seed=seed)
        self.wte = layers.Embedding(V, D, seed=seed)
        self.ln_f = layers.LayerNorm(D)


def test_a_model_of_layers(tmp_path):
    ours, other = Block(1), Block(2)
    ours.parameters.flat[...] = np.arange(ours.parameters.flat.size)
    flat = other.parameters.flat
    save_weights(ours, tmp_path / "new", GPT2)
    load_weights(other, tmp_path / "new", GPT2)
    assert same(ours, other) and np.shares_memory(flat, other.parameters.flat)
    np.testing.assert_array_equal(other.wte.parameters["weight"], ours.parameters["wte.weight"])


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_named(number, tmp_path):
    """Of files, of arrays in memory, which change nothing then, of GGUF, and of other programs' files."""
    bad, good = (models.Llama(models.LlamaConfig(**LLAMA), seed=seed) for seed in (0, 1))
    bad.parameters["layers.0.mlp.up_proj.weight"][3, 2] = number
    bad.save_pretrained(tmp_path / "folder")
    with pytest.raises(
        ValueError, match="model.safetensors: model.layers.0.mlp.up_proj.weight holds numbers that are not finite"
    ):
        models.Llama.from_pretrained(tmp_path / "folder")
    arrays, before = stored(tmp_path / "folder"), good.parameters.flat.copy()
    with pytest.raises(ValueError, match="the state dict: model.layers.0.mlp.up_proj.weight holds numbers"):
        models.from_torch(good, arrays)
    assert np.array_equal(good.parameters.flat, before)
    write_gguf(bad, tmp_path / "m.gguf")
    with pytest.raises(ValueError, match="m.gguf: blk.0.ffn_up.weight holds numbers"):
        models.Llama.from_gguf(tmp_path / "m.gguf")
    shapes = {"embedding.weight": (12, 4), "recurrent.weight_ih_l0": (20, 4), "recurrent.weight_hh_l0": (20, 5)}
    shapes |= {"output.weight": (12, 5), "output.bias": (12,)}
    np.savez(tmp_path / "m.npz", **{name: np.full(shape, number, np.float32) for name, shape in shapes.items()})
    with pytest.raises(ValueError, match="m.npz: embedding.weight holds numbers"):
        models.convert_from(tmp_path / "m.npz")


def test_large_numbers_are_finite(tmp_path):
    """Their sum is not."""
    large = models.Llama(models.LlamaConfig(**LLAMA))
    large.parameters["lm_head.weight"][...] = 3e38
    large.save_pretrained(tmp_path)
    assert models.Llama.from_pretrained(tmp_path).parameters["lm_head.weight"].min() > 2e38


@pytest.mark.parametrize("change", [{"hidden_act": "swish"}, {"rope_theta": "x"}, {"rope_scaling": 3}, {"vocab_size": 10**9}])
def test_a_setting_is_named_with_its_file(change, tmp_path):
    models.Llama(models.LlamaConfig(**LLAMA)).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(ValueError, match=f"{tmp_path}/config.json: "):
        models.Llama.from_pretrained(tmp_path)
