"""Without a GPU, what is missing is said in one line, and nothing else changes."""

import sys
import types

import numpy as np
import pytest

from minilm import devices, ops
from tests.ops import gpu


@pytest.fixture(autouse=True)
def asked_anew():
    devices.gpu_status.cache_clear()
    yield
    devices.gpu_status.cache_clear()


class CUDARuntimeError(RuntimeError):
    pass


def machine(monkeypatch, count, driver=0, module=True):
    """A CuPy that finds this."""

    def get_count():
        if isinstance(count, str):
            raise CUDARuntimeError(count)
        return count

    runtime = types.SimpleNamespace(CUDARuntimeError=CUDARuntimeError, getDeviceCount=get_count, driverGetVersion=lambda: driver)
    cupy = types.ModuleType("cupy")
    cupy.cuda = types.SimpleNamespace(runtime=runtime)
    cupy.ndarray = type("ndarray", (), {})
    monkeypatch.setitem(sys.modules, "cupy", cupy if module else None)


@pytest.mark.parametrize(
    "count, driver, says",
    [
        (
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient",
            0,
            "no NVIDIA driver that CuPy can use (there is none)",
        ),
        ("cudaErrorInsufficientDriver: CUDA driver version is insufficient", 11040, "(its version is 11.4): install or update"),
        ("cudaErrorNoDevice: no CUDA-capable device is detected", 13000, "the NVIDIA driver sees no GPU"),
        ("cudaErrorUnknown: unknown error", 13000, "CUDA does not start: CUDARuntimeError: cudaErrorUnknown"),
        (0, 13000, "the NVIDIA driver sees no GPU"),
        (1, 13000, "a kernel does not run (AttributeError"),
    ],
)
def test_what_is_missing(monkeypatch, count, driver, says):
    machine(monkeypatch, count, driver)
    status = devices.gpu_status()
    assert not status.available and says in status.reason and "\n" not in status.reason
    with pytest.raises(RuntimeError, match="no GPU can be used: "):
        devices.to_device(np.zeros(3))


def test_cupy_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "CuPy" in devices.gpu_status().reason


def test_a_gpu_is_named():
    with gpu.emulated():
        assert devices.gpu_status() == (True, "a CPU that plays a GPU")
        x = devices.to_device({"a": [np.ones(3, np.float32), 4], "b": None})
        assert devices.on_gpu(x["a"][0]) and x["a"][1] == 4 and x["b"] is None
        assert np.array_equal(devices.to_host(x)["a"][0], np.ones(3))


def test_arrays_choose_and_do_not_mix():
    with gpu.emulated():
        x, W = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
        on_device = devices.to_device(x)
        y, _ = ops.linear.forward(on_device, devices.to_device(W))
        assert devices.on_gpu(y) and np.array_equal(y.get(), np.full((2, 4), 3))
        with pytest.raises(TypeError, match=r"linear: some arrays are on the device, and one of shape \(4, 3\) is not"):
            ops.linear.forward(on_device, W)
        with devices.implementation("cpu"), pytest.raises(TypeError, match="'cpu' wants numpy arrays"):
            ops.relu.forward(on_device)
        with devices.implementation("gpu"), pytest.raises(TypeError, match="to_device moves them there"):
            ops.relu.forward(x)


def test_arguments_on_the_device_are_checked_as_on_the_host():
    with gpu.emulated():
        ids, W = devices.to_device((np.array([1, 7]), np.ones((4, 3), np.float32)))
        with pytest.raises(ValueError, match=r"ids\[1\] is 7, wanted an id in \[0, 4\)"):
            ops.embedding.forward(ids, W)
        with devices.ids_are_checked():
            y, _ = ops.embedding.forward(ids, W)
            assert np.isnan(y.get()[1]).all() and np.array_equal(y.get()[0], np.ones(3))
        with pytest.raises(TypeError, match="x must be float32 or float64, got an array of shape"):
            ops.relu.forward(ids)
        with pytest.raises(ValueError, match=r"x must have shape \(..., I\)"):
            ops.linear.forward(devices.to_device(np.ones((2, 5), np.float32)), W)


def test_an_unknown_device():
    with pytest.raises(ValueError, match="device must be one of cpu, cuda, got 'gpu'"):
        devices.require("gpu")


def test_gradcheck_on_the_gpu(capsys, monkeypatch):
    from minilm.cli import main

    with gpu.emulated():  # ops that are quick there: tests/ops/test_gpu.py checks the gradients of all
        assert main(["gradcheck", "linear", "embedding", "Linear", "--implementation", "gpu"]) == 0
        out = capsys.readouterr().out
        assert "3 of 3 passed" in out and " gpu " in out
    monkeypatch.setitem(sys.modules, "cupy", None)
    devices.gpu_status.cache_clear()
    assert main(["gradcheck", "linear", "--implementation", "gpu"]) == 2
    assert "no GPU can be used" in capsys.readouterr().err


def test_gradcheck_of_a_model_there_finds_what_is_wrong(monkeypatch):
    from minilm import models
    from minilm.gradcheck import catalogue

    with gpu.emulated():
        assert catalogue.run("Word2Vec", "gpu").passed
        backward = models.Word2Vec.backward

        def forgetful(self, saved, **options):
            if devices.on_gpu(self.input.value):
                self.parameters.zero_gradients()
            return backward(self, saved, **options)

        monkeypatch.setattr(models.Word2Vec, "backward", forgetful)
        assert any("does not add" in problem for problem in catalogue.run("Word2Vec", "gpu").problems)
        monkeypatch.setattr(models.Word2Vec, "backward", lambda self, saved, **options: None)
        assert not catalogue.run("Word2Vec", "gpu").passed
