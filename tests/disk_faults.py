"""Faults of a disk, planted at every call that writes, and what runs are left with: ``python -m tests.disk_faults``.

A forked child does some work and meets one fault, at its n-th call that opens a file for writing, writes, syncs, renames or
removes one:

========  ==========================================================================================
kill      the process ends there, as by SIGKILL
half      half of what is written arrives, and the process ends there
fail      half of what is written arrives, and the call says that the disk is full
========  ==========================================================================================

`in_child` is for the tests, which look at the folder after each fault, for every n: of train, recipe, overwrite and resume. The
command runs all of them.
"""

from __future__ import annotations

import builtins
import errno
import os
import sys

from minilm import files

HOW = ("kill", "half", "fail")
TESTS = ("tests/training/test_killed.py", "tests/recipes/test_killed.py")


def plant(call: int, how: str) -> list:
    """Plant the fault in this process; an empty list, which it fills when it is met."""
    left, met = [call], []

    def now() -> bool:
        left[0] -= 1
        if left[0] == -1:
            met.append(call)
        return left[0] == -1

    def end():
        if how != "fail":
            os._exit(9)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def faulty(real):
        def function(*arguments, **options):
            if now():
                end()
            return real(*arguments, **options)

        return function

    def write(self, data, real=files.Hashed.write):
        if not now():
            return real(self, data)
        if how != "kill":
            part = bytes(memoryview(data))
            self.file.write(part[: len(part) // 2])
            self.file.flush()
        return end()

    def opened(file, mode="r", *arguments, real=builtins.open, **options):
        if set("wxa+") & set(mode) and now():
            end()
        return real(file, mode, *arguments, **options)

    for name in ("replace", "fsync", "remove"):
        setattr(os, name, faulty(getattr(os, name)))
    files.Hashed.write, builtins.open = write, opened
    return met


def in_child(call: int, work, how: str = "kill") -> bool:
    """Do `work` in a child with a fault at one of its calls; whether there were fewer calls, so that it met none."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            met = plant(call, how)
            try:
                work()
            except OSError:
                if not met:
                    raise
            status = 9 if met else 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), f"the fault at call {call} ended in something else: exit status {status}"
    return status == 0


if __name__ == "__main__":
    import pytest

    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", "at_every_call or while_it_overwrites", *TESTS]))
