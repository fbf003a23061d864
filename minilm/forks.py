"""What a fork waits for.

A forked child has one thread, and every lock that another thread of the parent held stays locked in it for good. So a fork waits
until no thread compiles a kernel, or imports one: the child can then do both.
"""

from __future__ import annotations

import contextlib
import os
import threading
from contextlib import AbstractContextManager

__all__ = ["importing", "wait_for"]

importing = threading.RLock()  # held while a module with kernels is imported at its first use
_locks: list = [importing]  # in the order in which threads take them
_held: contextlib.ExitStack | None = None


def wait_for(*locks: AbstractContextManager) -> None:
    """From now on a fork takes these locks too, context managers each, after those that it takes already."""
    _locks.extend(locks)


def _before() -> None:
    global _held
    with contextlib.ExitStack() as stack:
        for lock in _locks:
            stack.enter_context(lock)
        _held = stack.pop_all()


def _after() -> None:
    global _held
    stack, _held = _held, None
    if stack is not None:
        stack.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
