"""Sizes of caches: of the system, of Linux's files, or else the least that is usual."""

import pytest

from minilm.ops import caches


@pytest.fixture(autouse=True)
def unknown(monkeypatch, tmp_path):
    """A machine that says nothing."""
    monkeypatch.setattr(caches.os, "sysconf_names", {}, raising=False)
    monkeypatch.setattr(caches, "SHOWN", tmp_path)


def test_files_of_linux(tmp_path):
    for number, (level, kind, size) in enumerate([("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2M")]):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{text}\n")
    assert caches.size.__wrapped__(1) == 48 * 2**10 and caches.size.__wrapped__(2) == 2**21


def test_a_machine_that_says_nothing():
    assert (caches.size.__wrapped__(1), caches.size.__wrapped__(2)) == (caches.LEAST[1], caches.LEAST[2])


def test_a_library_that_does_not_know(monkeypatch):
    monkeypatch.setattr(caches.os, "sysconf_names", {"SC_LEVEL1_DCACHE_SIZE": 1}, raising=False)
    monkeypatch.setattr(caches.os, "sysconf", lambda name: 0, raising=False)
    assert caches.size.__wrapped__(1) == caches.LEAST[1]
