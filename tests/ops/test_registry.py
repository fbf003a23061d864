"""Every op is complete: a folder lacking an implementation, a formula, a case or a count fails here."""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import minilm.ops
from minilm import devices
from tests.ops.properties import OPS, combinations, draw, functions, hosts

ROOT = pathlib.Path(minilm.ops.__file__).parent


def test_every_folder_is_registered():
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith("_")} - {"bfloat16", "cuda"}
    assert folders == set(minilm.ops.FOLDERS)
    assert {op.package.rpartition(".")[2] for op in OPS.values()} == folders


@pytest.mark.parametrize("folder", minilm.ops.FOLDERS)
def test_folder_is_complete(folder):
    assert (ROOT / folder / "gpu.cu").is_file(), f"{folder}/gpu.cu is missing"
    for name in ("__init__", "spec", "cases", *devices.IMPLEMENTATIONS):
        assert (ROOT / folder / f"{name}.py").is_file(), f"{folder}/{name}.py is missing"
        if name == "gpu":
            continue  # imports CuPy
        module = importlib.import_module(f"minilm.ops.{folder}" if name == "__init__" else f"minilm.ops.{folder}.{name}")
        assert module.__doc__, f"{folder}/{name}.py has no docstring"


@pytest.mark.parametrize("folder", minilm.ops.FOLDERS)
def test_every_version_is_walked(folder):
    """A file of a version that no list names would run in no test; and each says in its first line which it is."""
    names = [path.stem for path in sorted((ROOT / folder).glob("cpu*.py"))]
    versions = devices.versions(f"minilm.ops.{folder}")
    assert sorted(versions) == names
    for number, name in enumerate(versions[:-1], 1):
        assert f"version {number}:" in (ROOT / folder / f"{name}.py").read_text().splitlines()[0], name


@pytest.mark.parametrize("folder", minilm.ops.FOLDERS)
def test_implementations_do_not_import_one_another(folder):
    every = (*devices.IMPLEMENTATIONS, *devices.versions(f"minilm.ops.{folder}")[:-1])
    for name in every:
        tree = ast.parse((ROOT / folder / f"{name}.py").read_text())
        imported = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        imported |= {f"{n.module}.{a.name}" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
        for other in every:
            same_kind = other.partition("_")[0] == name.partition("_")[0]  # which may use another op's: philox.cpu
            end = f"minilm.ops.{folder}.{other}" if same_kind else f".{other}"
            assert other == name or not any(module.endswith(end) for module in imported), f"{folder}/{name}.py"


@pytest.mark.parametrize("name", OPS)
def test_specification_says_what_it_is(name):
    op = OPS[name]
    spec = importlib.import_module(f"{op.package}.spec")
    text = spec.__doc__
    assert len(text) > 500 and "Source" in text, "formulas, derivation and source stand in the specification's docstring"
    assert "::" in text, "the formulas are set as a block"
    if op.backward:
        assert "Forward" in text and "Backward" in text and "Saved" in text
    for key in op.dims:
        assert any(key in line for line in text.splitlines() if "(" in line), f"no shape names {key}"


@pytest.mark.parametrize("name", OPS)
def test_public_functions_are_documented(name):
    for function in filter(None, functions(OPS[name])):
        text = inspect.getdoc(function) or ""
        assert "Parameters" in text, f"{function.__qualname__} has no numpydoc Parameters"
        for parameter in inspect.signature(function).parameters:
            assert parameter in text, f"{function.__qualname__} does not describe {parameter}"


@pytest.mark.parametrize("name", OPS)
def test_same_signature_everywhere(name):
    op = OPS[name]
    for function in filter(None, (op.forward, op.backward)):
        public = inspect.signature(getattr(importlib.import_module(op.package), function)).parameters
        for implementation in hosts(op):
            parameters = inspect.signature(getattr(devices.load(op.package, implementation), function)).parameters
            assert list(parameters) == list(public)
            for key in public:
                # where the public function has a default, an implementation has the same or none
                assert parameters[key].default in (public[key].default, inspect.Parameter.empty), key


@pytest.mark.parametrize("name", OPS)
def test_cases(name):
    op = OPS[name]
    public, _ = functions(op)
    assert op.dims and all(len(sizes) >= 3 and 1 in sizes for sizes in op.dims.values()), "tiny, 1, and larger sizes"
    assert np.prod(list(op.tiny().values())) <= 400, "the first sizes are tiny"
    for options in combinations(op):
        for dtype in (np.float32, np.float64):
            case = draw(op, dtype, options=options)
            again = draw(op, dtype, options=options)
            inspect.signature(public).bind(**case.arguments)
            for key, value in case.arguments.items():
                assert np.array_equal(value, again.arguments[key]), f"{key} is not drawn from rng alone"
            for key in case.differentiable:
                value = case.arguments[key]
                assert value.dtype == dtype, key
                assert np.isfinite(value).all() and (value != 0).all(), f"{key} holds zeros"
        order = [k for k in inspect.signature(public).parameters if k in case.differentiable]
        assert list(case.differentiable) == order, "gradients come in the order of the arguments"
        if op.backward:
            assert case.differentiable, "a pair differentiates something"


@pytest.mark.parametrize("name", OPS)
def test_saved_is_the_same_everywhere(name):
    op = OPS[name]
    if not op.backward:
        pytest.skip("saves nothing")
    for options in combinations(op):
        case = draw(op, options=options)
        seen = []
        for implementation in hosts(op):
            with devices.implementation(implementation):
                _, saved = functions(op)[0](**case.arguments)
            assert isinstance(saved, tuple) and hasattr(saved, "_fields")
            describe = [(v.shape, v.dtype) if isinstance(v, np.ndarray) else type(v).__name__ for v in saved]
            seen.append((type(saved), describe))
        assert all(each == seen[0] for each in seen)


@pytest.mark.parametrize("name", OPS)
def test_counts(name):
    op = OPS[name]
    small, large = op.tiny(), {k: 2 * v for k, v in op.tiny().items()}
    assert op.flops(large) >= op.flops(small) >= 0
    assert op.bytes(large, 4) > op.bytes(small, 4) > 0
    assert op.bytes(small, 8) > op.bytes(small, 4)


def test_cases_are_imported_by_the_registry_alone():
    code = "import sys; from minilm import ops; ops.lstm, ops.tanh; print([m for m in sys.modules if m.endswith('cases')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_registry_rejects_a_second_op_of_one_name(monkeypatch):
    monkeypatch.setattr(minilm.ops, "FOLDERS", ("linear", "linear"))
    with pytest.raises(ValueError, match="linear"):
        minilm.ops.registry.__wrapped__()
