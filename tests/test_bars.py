"""Where a progress bar is drawn: on a terminal and in a notebook, and nowhere else."""

import sys
import types

import numpy as np
import pytest

from minilm import bars
from minilm.sequential import Dense, Sequential
from minilm.training.log import Progress


@pytest.fixture
def notebook(monkeypatch):
    """A kernel of Jupyter, whose stderr is no terminal; the bars that it was given, by their options."""
    drawn = []

    class Bar:
        n = 0

        def __init__(self, **options):
            drawn.append(options)

        def __getattr__(self, name):
            return lambda *arguments, **options: None

    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Bar))
    return drawn


def test_a_notebook_gets_its_own_bars(notebook):
    assert bars.can_draw()
    progress = Progress(None, "tokens")
    assert progress.due(1.0)
    progress.update(1.0, 0.5, 10, 2.0, 100)
    progress.close()
    model = Sequential([Dense(1)])
    model.compile(loss="mse", optimizer="sgd")
    model.fit(np.ones((4, 2), np.float32), np.ones((4, 1), np.float32))
    assert [options["total"] for options in notebook] == [1.0, 1]


def test_elsewhere_there_is_none(monkeypatch):
    assert not bars.can_draw() and "tqdm.auto" not in repr(Progress(None, "tokens")._bar)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))  # imported by a plain program
    assert not bars.can_draw()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(config={})))
    assert not bars.can_draw(), "IPython in a terminal, whose output goes to a file"
    monkeypatch.setattr(sys, "stderr", None)
    assert not bars.can_draw()
