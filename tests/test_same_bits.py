"""The same bits: for any number of threads, in every layer, model and training step; and for a row, whatever stands beside it."""

import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from minilm import devices, models, optimizers
from minilm.gradcheck.cases import LAYERS, MODELS
from minilm.gradcheck.subjects import subject_of
from minilm.gradcheck.trees import leaves
from minilm.ops.workspace import Workspace
from minilm.random import Key

THREADS = (1, 2, 3, 4)
CASES = {  # of each layer and model the first case and the last: all of them would take a minute on a busy machine
    f"{name}, {label}": cases[label]
    for table in (LAYERS, MODELS)
    for name, cases in table.items()
    for label in dict.fromkeys([next(iter(cases)), next(reversed(cases))])
}
BATCH, TIME, VOCABULARY = 16, 24, 300


def arrays(tree):
    """Every array of a tree, as bytes."""
    return [np.ascontiguousarray(leaf).tobytes() for _, leaf in leaves(tree) if isinstance(leaf, np.ndarray | np.generic | float)]


@pytest.mark.parametrize("label", CASES)
def test_layers_and_models(label):
    """In float64, at the sizes of their gradient checks."""
    module, inputs, options = CASES[label]()
    subject = subject_of(module, inputs, options)
    rng, cotangents, first = np.random.default_rng(0), None, None
    for count in THREADS:
        devices.set_threads(count)
        outputs, saved = subject.forward()
        if cotangents is None and not subject.scalar:
            cotangents = outputs.__class__(*map(rng.standard_normal, map(np.shape, outputs))) if isinstance(outputs, tuple) else (
                rng.standard_normal(outputs.shape)
            )  # fmt: skip
        bits = arrays(outputs), arrays(subject.backward(cotangents, saved)[0])
        first = first or bits
        assert bits == first, f"{count} threads"


# --- training: wide enough that threads share the work -------------------------------------------------------------------


def language_model(cell):
    config = models.RNNLanguageModelConfig(VOCABULARY, cell=cell, embedding_size=70, hidden_size=70, num_layers=2, dropout=0.2)
    return models.RNNLanguageModel(config, seed=0)


def gpt():
    sizes = {"n_positions": TIME, "n_embd": 66, "n_layer": 2, "n_head": 3, "resid_pdrop": 0.1, "attn_pdrop": 0.1}
    return models.GPT(models.GPTConfig(vocab_size=VOCABULARY, **sizes), seed=0)


def bert():
    sizes = {"hidden_size": 66, "num_hidden_layers": 2, "num_attention_heads": 3, "max_position_embeddings": TIME}
    return models.BERTForPreTraining(models.BERTConfig(vocab_size=VOCABULARY, **sizes), seed=0)


def seq2seq(kind):
    if kind == "transformer":
        config = models.TransformerConfig(VOCABULARY, VOCABULARY, d_model=66, num_heads=3, encoder_layers=1, decoder_layers=1)
        return models.Transformer(config, seed=0)
    return models.Seq2Seq(models.Seq2SeqConfig(VOCABULARY, VOCABULARY, cell=kind, hidden_size=70, dropout=0.1), seed=0)


TRAINED = {
    **{cell: (lambda cell=cell: language_model(cell)) for cell in ("rnn", "lstm", "gru")},
    "gpt": gpt,
    "bert": bert,
    "seq2seq lstm": lambda: seq2seq("lstm"),
    "transformer": lambda: seq2seq("transformer"),
    "classifier": lambda: models.RecurrentClassifier(VOCABULARY, 3, embedding_size=70, hidden_size=70, seed=0),
    "tagger": lambda: models.Tagger(VOCABULARY, 5, embedding_size=70, hidden_size=70, seed=0),
}


def batch(name, rng):
    """What the model's ``forward`` takes."""
    ids = rng.integers(1, VOCABULARY, (BATCH, TIME + 1))
    if name == "classifier":
        return ids, rng.integers(0, 3, BATCH)
    if name == "tagger":
        return ids, rng.integers(0, 5, ids.shape)
    if name in ("seq2seq lstm", "transformer"):
        return ids, ids[:, :-1], ids[:, 1:]
    if name == "bert":
        masked = np.where(rng.random((BATCH, TIME)) < 0.2, ids[:, 1:], -100)
        return ids[:, :-1], masked, np.zeros((BATCH, TIME), int), None, rng.integers(0, 2, BATCH)
    return ids[:, :-1], ids[:, 1:]


def trained(name, steps):
    """The weights after some steps, and the losses, as bytes."""
    rng, model, workspace = np.random.default_rng(0), TRAINED[name](), Workspace()
    adam, losses = optimizers.AdamW(model.parameters, lr=1e-3, clip_norm=1.0), []
    for step in range(steps):
        with workspace.step():
            loss, saved = model.forward(*batch(name, rng), key=Key(0, step))
            model.backward(saved)
        losses.append(float(loss))
        adam.step()
    assert np.isfinite(losses).all()
    return np.array(losses).tobytes() + np.ascontiguousarray(model.parameters.flat).tobytes()


@pytest.mark.parametrize(("name", "steps"), [(name, 4) for name in TRAINED] + [
    pytest.param(name, 200, marks=pytest.mark.slow) for name in TRAINED])  # fmt: skip
def test_training(name, steps):
    results = []
    for count in THREADS:
        devices.set_threads(count)
        results.append(trained(name, steps))
    assert len(set(results)) == 1


# --- processes of which each has other threads, NumPy's BLAS's among them ------------------------------------------------------

# Where `np.matmul` still stands, bits are those of a BLAS's kernels: `minilm info` says so too.
BY_BLAS = ("MemoryNetwork", "Reader", "RecurrentClassifier, mean", "BERTClassifier", "PointerGenerator", "Sequential")
BY_BLAS = tuple(f"model {name}" for name in BY_BLAS)
SETTINGS = [{"MINILM_THREADS": str(own), "OPENBLAS_NUM_THREADS": str(blas)} for own, blas in ((1, 1), (2, 3), (3, 2), (4, 4))]


def hashes(environment, steps):
    """What `tests.same_bits` prints in a process of its own."""
    command = [sys.executable, "-m", "tests.same_bits", "--steps", str(steps)]
    run = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.slow
def test_every_op_layer_and_model_in_processes_with_other_threads():
    first, *others = (hashes(setting, 200) for setting in SETTINGS)
    assert len(first) > 400
    for setting, other in zip(SETTINGS[1:], others, strict=True):
        assert [label for label in first if first[label] != other[label]] == [], setting


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="forces a kernel of OpenBLAS's for x86")
def test_another_blas_changes_nothing_but_what_is_said():
    first, other = (hashes({**SETTINGS[0], **more}, 3) for more in ({}, {"OPENBLAS_CORETYPE": "Nehalem"}))
    assert [label for label in first if first[label] != other[label] and not label.startswith(BY_BLAS)] == []


# --- a row and its neighbours ----------------------------------------------------------------------------------------------


def logits(name, model, ids):
    result = model.logits(ids)
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gpt", "bert", "classifier"])
def test_a_row_does_not_depend_on_its_neighbours(name, rows):
    model, ids = TRAINED[name](), np.random.default_rng(1).integers(1, VOCABULARY, (BATCH, TIME))
    whole = logits(name, model, ids)
    for first in range(0, BATCH - rows + 1, 5):
        part = logits(name, model, ids[first : first + rows])
        assert np.array_equal(part, whole[first : first + rows]), (first, rows)
