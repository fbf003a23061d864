"""What kernels are compiled with: by whom they are called, and whether references to their arguments are counted."""

import numpy as np
import pytest

from minilm.compiled.jit import jit


def kernels():
    """A kernel that makes an array, and one that does not count references and calls it."""

    @jit
    def total(x):
        copied = np.empty(len(x), x.dtype)
        for i in range(len(x)):
            copied[i] = x[i]
        return copied.sum()

    @jit(counted=False)
    def totals(pair, out):
        for i in range(2):
            out[i] = total(pair[i])

    return total, totals


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("minilm.compiled.kernel_cache.folder", lambda: str(tmp_path))


@pytest.mark.parametrize("python_first", [True, False])
def test_a_kernel_serves_other_kernels_and_python(python_first):
    """From a cache that is empty, and from one that is not."""
    x, y, out = np.arange(3.0), np.ones(5), np.empty(2)
    for _ in range(2):
        total, totals = kernels()
        if python_first:
            assert total(x) == 3
        totals((x, y), out)
        assert out.tolist() == [3, 5] and total(x) == 3 and total(y) == 5


def test_what_only_kernels_call_has_no_version_for_python():
    """Which takes longer to compile than most kernels, where tuples of arrays are handed on."""
    total, totals = kernels()
    x, out = np.ones(3), np.empty(2)
    totals((x, x), out)
    assert not total.signatures and len(totals.signatures) == 1
