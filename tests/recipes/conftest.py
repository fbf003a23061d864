"""The recipe of `tests.recipes.toy` by its name, and runs without pictures, for tests of what all recipes share."""

import pytest

from minilm import recipes
from minilm.recipes import folder


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "toy", ("tests.recipes.toy", "Toy"))


@pytest.fixture
def unplotted(monkeypatch):
    monkeypatch.setattr(folder, "_plot", lambda *_: None)
