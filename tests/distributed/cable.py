"""A line between two network namespaces: virtual cards, plain or slowed by ``tc netem``, or a cable that this process plays.

The cable is for kernels without netem. Each end is a card that hands its frames to whoever has it open (``/dev/net/tun``): a
thread passes them on, later than they came, and leaves some out.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time

DELAY, LOSS = 0.002, 0.01  # seconds one way; part of the frames
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
FRAME = 1 << 16  # bytes at the most


def ip(*words: str) -> subprocess.CompletedProcess:
    """The command of iproute2."""
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


@contextlib.contextmanager
def plain(cards, namespaces):
    """A pair of virtual cards; what is missing here, or None."""
    if ip("link", "add", cards[0], "type", "veth", "peer", "name", cards[1]).returncode:
        yield "there are no virtual network cards here"
        return
    for card, namespace in zip(cards, namespaces, strict=True):
        ip("link", "set", card, "netns", namespace)
    yield None


@contextlib.contextmanager
def netem(cards, namespaces):
    """The same, slow and lossy by the kernel's network emulator."""
    with plain(cards, namespaces) as missing:
        delay = ["netem", "delay", f"{1000 * DELAY:g}ms", "loss", f"{100 * LOSS:g}%"]
        for card, namespace in zip(cards, namespaces, strict=True) if missing is None and shutil.which("tc") else ():
            add = ["ip", "netns", "exec", namespace, "tc", "qdisc", "add", "dev", card, "root", *delay]
            missing = missing or subprocess.run(add, capture_output=True, text=True, check=False).stderr.strip() or None
        if missing is None and not shutil.which("tc"):
            missing = "there is no command tc"
        yield missing and f"no tc netem here: {missing}"


@contextlib.contextmanager
def played(cards, namespaces):
    """The same, slow and lossy by a thread of this process."""
    with contextlib.ExitStack() as stack:
        ends = []
        try:
            for card, namespace in zip(cards, namespaces, strict=True):
                ends.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK))
                stack.callback(os.close, ends[-1])
                fcntl.ioctl(ends[-1], TUNSETIFF, struct.pack("16sH22x", card.encode(), IFF_TAP | IFF_NO_PI))
                ip("link", "set", card, "netns", namespace)
        except OSError as error:
            yield f"there are no cards of one's own here: {error}"
            return
        over = threading.Event()
        thread = threading.Thread(target=_pass_on, args=(ends, over))
        thread.start()
        try:
            yield None
        finally:
            over.set()
            thread.join()


LINES = {"plain": plain, "netem": netem, "cable": played}


def _pass_on(ends: list[int], over: threading.Event) -> None:
    """Hand what comes from either end to the other one, until all is over."""
    other, rng, number = dict(zip(ends, reversed(ends), strict=True)), random.Random(0), itertools.count()
    waiting: list[tuple] = []  # (when it is due, in what order it came, where to, frame)
    while not over.is_set():
        pause = 0.1 if not waiting else max(0.0, waiting[0][0] - time.monotonic())
        for end in select.select(ends, [], [], pause)[0]:
            with contextlib.suppress(OSError):  # a card that is down
                frame = os.read(end, FRAME)
                if rng.random() >= LOSS:
                    heapq.heappush(waiting, (time.monotonic() + DELAY, next(number), other[end], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, end, frame = heapq.heappop(waiting)
            with contextlib.suppress(OSError):
                os.write(end, frame)
