"""Runs so small that they take a fraction of a second."""

import importlib
import os
import random

import pytest

from minilm import files, training

WORDS = "the a small old red fox hen barn ran sat saw and then under over by near said night day".split()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A text of about 12,000 characters, of its own for every session: its path is part of no test's expectation."""
    drawn = random.Random(3)
    lines = (" ".join(drawn.choices(WORDS, k=drawn.randint(4, 9))).capitalize() + "." for _ in range(340))
    path = tmp_path_factory.mktemp("corpus") / "farm.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


TINY = {
    "batch": 4,
    "time": 16,
    "model": {"embedding_size": 6, "hidden_size": 10},
    "sample": {"tokens": 20},
    "log_every": 3,
    "checkpoint_seconds": "none",
}


@pytest.fixture
def undrawn(monkeypatch):
    """loss.png is written as ever, after the log was read, but nothing is drawn in it: that takes half the time of a tiny run."""

    def plot(folder):
        training.read_log(folder)
        path = os.path.join(os.fspath(folder), "loss.png")
        with files.written_whole(path) as file:
            file.write(b"\x89PNG")
        return path

    monkeypatch.setattr(importlib.import_module("minilm.training.train"), "plot", plot)


@pytest.fixture
def tiny(corpus):
    """Makes configurations of tiny runs: ``tiny(steps=20, model={"dropout": 0.2})``."""

    def make(**changes):
        settings = {**TINY, "corpus": corpus, "steps": 24, **changes}
        if {"minutes", "epochs"} & set(changes):
            del settings["steps"]
        settings["model"] = {**TINY["model"], **changes.get("model", {})}
        return training.configuration(options=settings)

    return make
