"""BERT, the classifiers and the tagger on a GPU, which the CPU plays here: the CPU's numbers, and no waiting."""

import contextlib

import numpy as np
import pytest

from minilm import data, devices, interpret, layers, models, optimizers, weights
from minilm.models.tagger import Spelling
from minilm.random import Key
from tests.cuda_on_cpu import fake_cupy
from tests.ops import gpu

V, C, B, T = 13, 3, 4, 6
LENGTHS = np.array([6, 1, 4, 3])
MASK = np.arange(T) < LENGTHS[:, None]
rng = np.random.default_rng(4)
IDS, LABELS, TAGS, TYPES = (
    rng.integers(0, V, (B, T)),
    rng.integers(0, C, B),
    rng.integers(0, C, (B, T)),
    rng.integers(0, 2, (B, T)),
)
TARGETS = np.where(MASK & (rng.random((B, T)) < 0.4), rng.integers(0, V, (B, T)), -100)
TARGETS[:2, 0] = 3, -100  # the second row, which has one token, predicts nothing
SPELLING = Spelling(rng.integers(0, 6, (5, 4)), np.array([4, 1, 3, 2, 4]), IDS % 5)
SPANS = np.array([[1, 3], [0, 0], [2, -100], [-100, 1]])

BERT = {"vocab_size": V, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 8}
BERT |= {"num_labels": C, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


def bert(kind, arguments, **changes):
    def make(dtype):
        return kind(models.BERTConfig(**{**BERT, **changes}), dtype=dtype)

    return make, arguments


def on_bert(arguments, **options):
    def make(dtype):
        return models.BERTClassifier(models.BERTConfig(**BERT), C, dropout=0.1, dtype=dtype, **options)

    return make, arguments


def own(kind, arguments, **options):
    def make(dtype):
        return kind(V, C, embedding_size=5, dtype=dtype, **options)

    return make, arguments


PRETRAINING = (IDS, TARGETS, TYPES, MASK, LABELS % 2, data.masked_places(TARGETS))
TEXTS, WHOLE = (IDS, LABELS, LENGTHS), (IDS, LABELS)
RECURRENT = {"hidden_size": 4, "word_dropout": 0.2, "dropout": 0.1}
CASES = {
    "pretraining": bert(models.BERTForPreTraining, PRETRAINING),
    "pretraining, recomputed": bert(models.BERTForPreTraining, PRETRAINING, recompute=True),
    "pretraining, masked words alone": bert(
        models.BERTForPreTraining, (IDS, TARGETS, None, None, None, data.masked_places(TARGETS)), hidden_act="relu"
    ),
    "sequences": bert(models.BERTForSequenceClassification, (IDS, LABELS, TYPES, MASK)),
    "sequences, no padding": bert(models.BERTForSequenceClassification, WHOLE, classifier_dropout=0.3),
    "tokens": bert(models.BERTForTokenClassification, (IDS, np.where(MASK, TAGS, -100), TYPES, MASK)),
    "spans": bert(models.BERTForQuestionAnswering, (IDS, SPANS, TYPES, MASK)),
    "BERT, mean": on_bert(TEXTS),
    "BERT, mean, no padding": on_bert(WHOLE),
    "BERT, first token": on_bert(TEXTS, pooling="cls"),
    "BERT, frozen": on_bert(TEXTS, frozen=True),
    "words": own(models.MeanClassifier, TEXTS, ngrams=1, word_dropout=0.2, dropout=0.1),
    "n-grams": own(models.MeanClassifier, TEXTS, ngrams=3, buckets=50, hidden_size=4, label_smoothing=0.1),
    "n-grams, no padding": own(models.MeanClassifier, WHOLE, ngrams=2, buckets=50, unk_id=1),
    "lstm, attention": own(models.RecurrentClassifier, TEXTS, num_layers=2, attention_size=3, **RECURRENT),
    "lstm, mean, no padding": own(models.RecurrentClassifier, WHOLE, pooling="mean", **RECURRENT),
    "gru, attention, no padding": own(models.RecurrentClassifier, WHOLE, cell="gru", unk_id=2, **RECURRENT),
    "gru, mean": own(models.RecurrentClassifier, TEXTS, cell="gru", pooling="mean", **RECURRENT),
    "tags": own(models.Tagger, (IDS, np.where(MASK, TAGS, -100), LENGTHS), **RECURRENT),
    "tags, gru, no padding": own(models.Tagger, (IDS, TAGS), cell="gru", num_layers=2, **RECURRENT),
    "tags, characters": own(models.Tagger, (IDS, TAGS, LENGTHS, SPELLING), characters=6, character_size=3, **RECURRENT),
}


def steps(model, arguments, count=3):
    """Losses, gradients and weights of a few steps; and what waited for the GPU meanwhile."""
    learned = getattr(model, "learned", model)
    learned.parameters.zero_gradients()
    optimizer = optimizers.SGD(learned.parameters, lr=0.3, momentum=0.9, clip_norm=1.0)
    if model.device == "cuda":
        arguments = devices.to_device(arguments)
    seen = []
    fake_cupy.waits.clear()
    with devices.ids_are_checked():
        for step in range(count):
            loss, saved = model.forward(*arguments, key=Key(1, step))
            model.backward(saved, dloss=0.7)
            seen.append((loss, learned.parameters.gradient_flat.copy(), optimizer.step()))
    waits = list(fake_cupy.waits)
    return devices.to_host((seen, model.parameters.state_dict())), waits


def close(a, b, rtol=1e-9, atol=1e-11):
    for (path, x), (_, y) in zip(gpu.leaves(a), gpu.leaves(b), strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype, path
        np.testing.assert_allclose(y, x, rtol=rtol, atol=atol, err_msg=path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_training_steps_are_those_of_the_cpu_and_wait_for_nothing(case, dtype):
    make, arguments = CASES[case]
    on_host, _ = steps(make(dtype), arguments)
    with gpu.emulated():
        on_device, waits = steps(make(dtype).to("cuda"), arguments)
    close(on_host, on_device, **({"rtol": 2e-4, "atol": 2e-5} if dtype == np.float32 else {}))
    assert waits == []
    losses = [float(loss) for loss, *_ in on_host[0]]
    assert len(set(losses)) == 3 and np.isfinite(losses).all()


@gpu.on_a_real_one
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_training_steps_on_a_real_gpu(case, dtype):
    make, arguments = CASES[case]
    on_host, _ = steps(make(dtype), arguments)
    on_device, _ = steps(make(dtype).to("cuda"), arguments)
    close(on_host, on_device, **({"rtol": 1e-3, "atol": 1e-4} if dtype == np.float32 else {}))


def both(make, call, where=gpu.emulated):
    """What `call` gives of a model on the CPU, and of the same on the device, there on the host again."""
    on_host = call(make(np.float64), lambda *arrays: arrays)
    with where():
        on_device = call(make(np.float64).to("cuda"), lambda *arrays: devices.to_device(arrays))
        assert all(devices.on_gpu(leaf) for _, leaf in gpu.leaves(on_device) if hasattr(leaf, "shape"))
        return on_host, devices.to_host(on_device)


ALLOWED = np.array([[1, 0, 1], [1, 1, 0], [1, 1, 1], [1, 1, 0]], bool)


PREDICTIONS = [
    ("pretraining", lambda model, there: model.logits(*there(IDS, TYPES, MASK))),
    ("pretraining", lambda model, there: tuple(model.bert.forward(*there(IDS))[0])),
    ("sequences", lambda model, there: model.logits(*there(IDS, TYPES, MASK))),
    ("spans", lambda model, there: model.logits(*there(IDS))),
    ("BERT, mean", lambda model, there: model.probabilities(*there(IDS, LENGTHS))),
    ("BERT, first token", lambda model, there: model.logits(*there(IDS))),
    ("n-grams", lambda model, there: model.grams(*there(IDS, LENGTHS))),
    ("n-grams", lambda model, there: model.probabilities(*there(IDS, LENGTHS))),
    ("lstm, attention", lambda model, there: model.attention(*there(IDS, LENGTHS))),
    ("gru, mean", lambda model, there: model.probabilities(*there(IDS, LENGTHS))),
    ("tags", lambda model, there: (model.emissions(*there(IDS)), model.decode(*there(IDS, LENGTHS)))),
    ("tags", lambda model, there: model.decode(*there(IDS, LENGTHS), allowed=ALLOWED)),
    ("tags", lambda model, there: model.decode(*there(IDS), allowed=there(ALLOWED)[0])),
    ("tags", lambda model, there: model.crf.marginals(model.emissions(*there(IDS)), *there(LENGTHS))),
    ("tags, characters", lambda model, there: model.decode(*there(IDS, LENGTHS, SPELLING))),
]


@pytest.mark.parametrize("case, call", PREDICTIONS)
def test_predictions(case, call):
    close(*both(CASES[case][0], call))


@gpu.on_a_real_one
@pytest.mark.parametrize("case, call", PREDICTIONS)
def test_predictions_on_a_real_gpu(case, call):
    close(*both(CASES[case][0], call, contextlib.nullcontext))


@pytest.mark.parametrize("places", [True, False])
def test_scores(places):
    given = PRETRAINING if places else PRETRAINING[:-1]
    found = both(CASES["pretraining"][0], lambda model, there: model.score(*there(*given)))
    assert found[0] == pytest.approx(found[1], rel=1e-9) and found[0].masked == (TARGETS != -100).sum()


# --- masked places ---------------------------------------------------------------------------------------------------


def test_places_change_nothing_but_where_they_are_found():
    make, arguments = CASES["pretraining"]
    close(steps(make(np.float64), arguments[:-1])[0], steps(make(np.float64), arguments)[0])
    with gpu.emulated():
        there = make(np.float64).to("cuda")
        loss, waits = steps(there, arguments[:-1], count=1)
    assert waits == ["flatnonzero"]
    close(steps(make(np.float64), arguments, count=1)[0], loss)


def test_masked_places():
    places = data.masked_places(TARGETS)
    for row, where in zip(TARGETS, places, strict=True):
        count = (row != -100).sum()
        assert (where[:count] == np.flatnonzero(row != -100)).all() and (row[where[count:]] == -100).all()
        assert len(set(where.tolist())) == len(where)
    assert places.shape == (B, (TARGETS != -100).sum(axis=1).max())
    special = data.MaskingIds(50, 1, 2, 3, 0, (0, 1, 2, 3))
    for time in (8, 23, 40):  # all batches have one shape
        batches = data.PretrainingBatches(np.arange(4, 50).repeat(3), 5, time, special)
        assert {data.masked_places(batches.batch(step)[1]).shape for step in range(20)} == {(5, max(1, round(0.15 * (time - 3))))}


def test_wrong_places():
    model = CASES["pretraining"][0](np.float32)
    with pytest.raises(ValueError, match=r"places\[0, 1\] is 6, wanted an id in \[0, 6\)"):
        model.forward(IDS, TARGETS, places=np.array([[0, 6]] * B))
    with pytest.raises(ValueError, match=r"places must have shape \(B, M\) = \(4, any\)"):
        model.forward(IDS, TARGETS, places=np.zeros((2, 1), int))
    with pytest.raises(ValueError, match="at least one token to predict"):
        model.forward(IDS, np.full_like(IDS, -100), places=np.zeros((B, 1), int))


# --- the device's edges ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["pretraining", "BERT, mean", "n-grams", "lstm, attention", "tags"])
def test_arrays_of_the_host_are_refused_by_a_model_on_the_device(case):
    make, arguments = CASES[case]
    with gpu.emulated(), pytest.raises(TypeError, match="some arrays are on the (device|host), and one of shape .* is"):
        make(np.float32).to("cuda").forward(*arguments)


def test_ids_are_checked_where_nobody_has():
    with gpu.emulated():
        model = CASES["tags"][0](np.float32).to("cuda")
        with pytest.raises(ValueError, match=r"ids\[0, 0\] is 99"):
            model.emissions(devices.to_device(np.full((1, 2), 99)))
        with pytest.raises(ValueError, match=r"lengths\[0\] is 3"):
            model.emissions(*devices.to_device((IDS[:1, :2], np.array([3]))))


@pytest.mark.parametrize("case", ["pretraining", "spans", "BERT, mean"])
def test_a_folder_of_a_model_on_the_device_is_that_of_the_cpu(case, tmp_path):
    model = CASES[case][0](np.float32)
    model = getattr(model, "bert", model) if case == "BERT, mean" else model
    model.save_pretrained(tmp_path / "host")
    with gpu.emulated():
        model.to("cuda").save_pretrained(tmp_path / "device")
        again = type(model).from_pretrained(tmp_path / "device").to("cuda")
        close(model.parameters.state_dict(), again.parameters.state_dict())
        again.parameters.flat[...] = 0  # and a folder is read into one that is there
        weights.load_weights(again, tmp_path / "device", weights.KEYMAPS["bert"])
        close(model.parameters.state_dict(), again.parameters.state_dict())
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "host" / name).read_bytes() == (tmp_path / "device" / name).read_bytes()


def test_what_is_explained_is_on_the_cpu():
    with gpu.emulated():
        model = CASES["pretraining"][0](np.float32).to("cuda")
        with pytest.raises(ValueError, match=r"on the CPU to be explained, got one on cuda: model.to\('cpu'\) moves it"):
            interpret.explain(model, None, "text")


def test_an_unfused_layer_pools_nothing_of_padding():
    pool = layers.MeanPooling()
    x, mask = np.ones((2, 3, 4), np.float32), np.array([[True, False, True], [False] * 3])
    with gpu.emulated():
        y, w = pool.forward(*devices.to_device((x, mask)))
        assert (y.get() == [[1], [0]]).all() and (pool.backward(y, w).get()[1] == 0).all()
