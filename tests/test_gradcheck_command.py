"""What `minilm gradcheck` covers, and that it finds what is planted."""

import dataclasses
import json
import re

import numpy as np
import pytest

from minilm import cli, devices, gradcheck, layers, models
from minilm.gradcheck import cases as gradcheck_cases
from minilm.gradcheck import catalogue
from minilm.gradcheck.cases import recurrent
from minilm.gradcheck.cases.building import KINK
from minilm.ops.cuda import emulated, source


def test_every_layer_and_model_is_covered():
    kinds = {name for name in layers.__all__ if isinstance(getattr(layers, name), type)} - {"Layer", "Parameter", "Parameters"}
    kinds -= {"KeyValueCache"}  # has no gradient
    assert set(gradcheck_cases.LAYERS) == kinds
    whole = {
        name for name in models.__all__ if isinstance(kind := getattr(models, name), type) and issubclass(kind, layers.Layer)
    }
    assert set(gradcheck_cases.MODELS) >= whole - {"BERT"}  # which is a part of the others, and has no loss
    settings = {field.name for field in dataclasses.fields(models.RNNLanguageModelConfig)}
    unused = {"vocab_size", "nonlinearity", "forget_bias", "orthogonal", "init_range"}  # of the start, or of the layer RNN
    tried = {name for options in recurrent._LANGUAGE_MODELS.values() for name in options} | {"cell"}
    assert settings - unused <= tried


@pytest.mark.parametrize("name", [*gradcheck_cases.LAYERS, *gradcheck_cases.MODELS])
def test_numbers_are_random_and_off_zero(name):
    for label, build in {**gradcheck_cases.LAYERS, **gradcheck_cases.MODELS}[name].items():
        thing, inputs, _ = build()
        again, same, _ = build()
        assert thing.parameters.count == 0 or np.array_equal(thing.parameters.flat, again.parameters.flat), label
        assert all(np.array_equal(a, b) for a, b in zip(inputs, same, strict=True))
        for path, value in thing.parameters.items():
            assert value.dtype == np.float64 and np.abs(value).min() >= 0.2, (label, path)
            assert value.size == 1 or len(np.unique(value)) == value.size
        if getattr(thing, "nonlinearity", None) == "relu":
            assert recurrent._from_kinks(thing, inputs[0]) > KINK


@pytest.mark.parametrize("name", ["Linear", "Embedding", "Dropout", "LayerNorm"])
@pytest.mark.parametrize("implementation", ["oracle", "cpu"])
def test_small_layers_pass(name, implementation):
    row = catalogue.run(name, implementation)
    assert row.passed and row.worst < 1e-10 and row.checks == len(gradcheck_cases.LAYERS[name])


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "RNNLanguageModel"])
def test_recurrent_layers_and_models_pass(name):
    row = catalogue.run(name, "cpu")
    assert row.passed, row.problems
    assert row.worst < 1e-9


ELSEWHERE = {"RNN", "LSTM", "GRU", "RNNLanguageModel", "Seq2Seq", "Transformer", "Reader", "Sequential"}
DROPPED = {
    name: cases["dropout"] for name, cases in {**gradcheck_cases.LAYERS, **gradcheck_cases.MODELS}.items() if "dropout" in cases
}


@pytest.mark.parametrize("name", sorted(set(DROPPED) - ELSEWHERE))
def test_blocks_and_models_pass_in_their_case_of_dropout(name):
    """One case of each whose own tests have peers alone for judges; `minilm gradcheck` runs them all."""
    thing, inputs, options = DROPPED[name]()
    report = gradcheck(thing, *inputs, **options)
    assert report, report


# --- faults ----------------------------------------------------------------------------------------------------------


def broken(kind, change):
    """`kind` with a backward that has a fault."""

    class Broken(kind):
        def backward(self, dy, saved):
            return change(self, super().backward(dy, saved), saved)

    class BrokenModel(kind):
        def backward(self, saved):
            return change(self, super().backward(saved), saved)

    return BrokenModel if kind is models.RNNLanguageModel else Broken


def scaled(factor, *path):
    """Multiplies one gradient of a layer by a factor."""

    def change(layer, gradients, saved):
        for name, gradient in layer.parameters.gradients.items():
            if name in path:
                gradient *= factor
        return gradients

    return change


FAULTS = {
    "Linear": [scaled(-1, "bias"), scaled(1 + 1e-6, "weight"), lambda layer, dx, saved: 0 * dx],
    "LayerNorm": [scaled(2, "weight"), lambda layer, dx, saved: dx + 1e-3],
    "Embedding": [scaled(1.001, "weight")],
    "Dropout": [lambda layer, dx, saved: dx * (1 - layer.p)],
    "LSTM": [
        scaled(-1, "bias_hh_l0"),
        scaled(1 + 1e-5, "weight_hh_l1_reverse"),
        lambda layer, gradients, saved: (gradients[0], None if gradients[1] is None else (gradients[1][0], -gradients[1][1])),
    ],
    "GRU": [scaled(0.5, "weight_ih_l0_reverse"), lambda layer, gradients, saved: (-gradients[0], gradients[1])],
    "RNN": [scaled(1 - 1e-5, "weight_ih_l1"), scaled(0, "bias_ih_l0")],
    "RNNLanguageModel": [
        scaled(0.5, "embedding.weight"),
        scaled(-1, "projection.weight"),
        lambda model, dstate, saved: dstate if dstate is None else -dstate,
    ],
}


@pytest.mark.parametrize("name, fault", [(name, i) for name, faults in FAULTS.items() for i in range(len(faults))])
def test_a_fault_is_found(name, fault, monkeypatch):
    table = gradcheck_cases.LAYERS if name in gradcheck_cases.LAYERS else gradcheck_cases.MODELS

    def breaking(build):
        def built():
            thing, inputs, options = build()
            thing.__class__ = broken(type(thing), FAULTS[name][fault])
            return thing, inputs, options

        return built

    cases = {label: breaking(build) for label, build in table[name].items() if "larger" not in label}
    if name == "RNNLanguageModel":
        cases = {label: build for label, build in cases.items() if "gru" in label}
    monkeypatch.setitem(table, name, cases)
    assert not catalogue.run(name, "oracle").passed


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_table(capsys):
    assert cli.main(["gradcheck", "linear", "Linear", "--implementation", "oracle"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["linear", "op", "oracle"], ["Linear", "layer", "oracle"]]
    assert lines[-1].startswith("2 of 2 passed") and "worst relative error" in lines[-1]


def test_a_failure_is_status_1(capsys, monkeypatch):
    def build():
        thing, inputs, options = gradcheck_cases.LAYERS["Linear"]["bias"]()
        thing.__class__ = broken(type(thing), scaled(-1, "bias"))
        return thing, inputs, options

    monkeypatch.setitem(gradcheck_cases.LAYERS, "Embedding", {"planted": build})
    assert cli.main(["gradcheck", "Embedding", "--implementation", "oracle"]) == 1
    out = capsys.readouterr().out
    assert "FAILED at dbias planted" in out and "0 of 1 passed" in out
    assert cli.main(["gradcheck", "Embedding", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["implementation"] for row in rows] == ["oracle", "cpu"] and not any(row["passed"] for row in rows)


def test_names(capsys):
    assert cli.main(["gradcheck", "--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"linear", "lstm", "LSTM", "RNNLanguageModel"} <= set(listed) and "adam" not in listed
    assert cli.main(["gradcheck", "lstn"]) == 2
    assert capsys.readouterr().err == "minilm: there is no op, layer or model 'lstn'; did you mean 'lstm'?\n"


# --- CUDA kernels on the CPU -----------------------------------------------------------------------------------------


@pytest.mark.skipif(emulated.missing() is not None, reason=str(emulated.missing()))
class TestEmulated:
    """What `pip install minilm` and g++ suffice for."""

    def test_ops_and_layers(self, capsys):
        emulated.raw.launches.clear()
        assert cli.main(["gradcheck", "linear", "softmax", "Linear", "--implementation", "emulated"]) == 0
        out = capsys.readouterr().out
        assert "3 of 3 passed" in out and out.count(" emulated ") == 3
        assert "softmax_forward_3" in emulated.raw.launches, "the kernels themselves were run"
        assert not devices.gpu_status().available or "plays" not in devices.gpu_status().reason

    @pytest.mark.parametrize(
        "old, new, says",
        [
            ("exp(x - m) / s", "exp(x - m) / s * x", r"FAILED at dx .*\n.*dx has error \d"),
            ("exp(x - m) / s", "exq(x - m) / s", r"FAILED at form=plain\n.*g\+\+ refuses (.|\n)*gpu\.cu:11:\d+: error: .exq"),
            ("o = block_merge(", "if (threadIdx.x) __syncthreads(); o = block_merge(", "deadlock .*thread 1 at a barrier, line "),
        ],
        ids=["wrong", "does not compile", "waits for ever"],
    )
    def test_what_is_wrong_with_a_kernel_is_a_failed_check(self, old, new, says, monkeypatch, capsys):
        def changed(path, seen=None, flatten=source.flatten):
            return flatten(path, seen).replace(old, new)

        monkeypatch.setattr(source, "flatten", changed)
        assert cli.main(["gradcheck", "softmax", "--implementation", "emulated"]) == 1
        captured = capsys.readouterr()
        assert re.search(says, captured.out) and "Traceback" not in captured.err, captured.out

    def test_without_a_compiler(self, monkeypatch, capsys):
        monkeypatch.setattr(emulated.loader.shutil, "which", lambda name: None)
        assert cli.main(["gradcheck", "linear", "--implementation", "emulated"]) == 2
        err = capsys.readouterr().err
        assert err.startswith("minilm: --implementation emulated: g++ is not installed") and err.count("\n") == 1
