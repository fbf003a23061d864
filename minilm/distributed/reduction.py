r"""The sum of a step's gradients over all micro-shards, beside the backward pass that makes them.

A rank's micro-shards go through the model one after another, and each one's gradients come to stand in the flat gradient buffer
alone. What has been summed of the tree waits on a stack, as in a binary counter: with L micro-shards a rank at most
:math:`\lceil \log_2 L \rceil` buffers::

    micro-shard    0        1            2            3
    stack       [g0]    [g0+g1]    [g0+g1, g2]    [(g0+g1)+(g2+g3)]

The buffer is cut into buckets. Backward reaches the last layers first, and they stand at the buffer's end. So in the rank's last
micro-shard, as soon as all gradients of the last bucket are final, it is added to what waits on the stack and sent, and travels
while backward goes on with the layers before.

A parameter's gradient is final when it has been added to as often as in an earlier step with a batch of the same shapes: a tied
weight twice, that of a recurrent decoder perhaps once a time step. A batch that adds more often, after a bucket was sent, is
noticed, and `finish` says so: such a step is to be taken again, which then waits for the end of backward.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable, Iterator

import numpy as np

from minilm.distributed.communicator import Communicator, Pending, wait_until
from minilm.distributed.tree import Node, Tree
from minilm.layers.parameter import Parameter
from minilm.layers.parameters import Parameters
from minilm.layers.residual import added
from minilm.typing import Array

__all__ = ["BUCKET", "Reduction"]

LOOKS = 16  # at what is under way, whenever a gradient was added to: each moves some tens of kilobytes on
BUCKET = 1 << 20  # numbers that travel together: enough that the wire is busy, and few enough that backward is not over


class Reduction:
    """Sums gradients over the micro-shards of all ranks.

    Parameters
    ----------
    communicator : Communicator
    parameters : Parameters
        Of the model.
    tree : Tree
    wire : {"float32", "bf16"}
        See `Communicator.reduce_scatter`.
    whole : bool
        Whether every rank is to have all sums, or its own pieces only.
    step : int
        Pieces begin at multiples of so many numbers.

    Examples
    --------
    ::

        for leaf in tree.owned(rank):
            with reduction.leaf(leaf, shapes):
                loss, saved = model.forward(...)
                model.backward(saved)
        reduction.finish()                  # gradient_flat has the sums
    """

    def __init__(
        self,
        communicator: Communicator,
        parameters: Parameters,
        tree: Tree,
        *,
        wire: str = "float32",
        whole: bool = True,
        step: int = 16,
    ):
        self.communicator, self.parameters, self.tree = communicator, parameters, tree
        self._wire, self._whole = wire, whole
        self._width = max(step, BUCKET // step * step)
        self.buckets = _buckets(parameters.flat.size, self._width)
        self.cuts = [_cuts(where, communicator.size, step) for where in self.buckets]
        owned = [Node(leaf, leaf + 1) for leaf in tree.owned(communicator.rank)]
        added_up = [len(tree.additions(owned[:count])) for count in range(len(owned) + 1)]
        sums = np.diff(added_up).tolist()  # that each leaf completes
        self._merges = dict(zip(tree.owned(communicator.rank), sums, strict=True))
        self._last = owned[-1].start
        self._touches = self._touched()
        self._calls: dict[Hashable, list[int]] = {}  # shapes -> how often each bucket is added to
        self._stack: list[Array] = []
        self._spare: list[Array] = []
        self._pending: list[Pending] = []
        self._sent = 0  # buckets
        self._left: list[int] | None = None  # additions to each bucket that are still to come; None: not known
        self._counted: list[int] = []
        self._surplus = False
        self.trace: list[tuple[str, int, float]] | None = None  # (what, bucket, second) of the last step, where one was put here

    def pieces(self) -> list[slice]:
        """Where this rank's own pieces lie in the flat buffer, one in each bucket."""
        rank = self.communicator.rank
        return [
            slice(where.start + cuts[rank], where.start + cuts[rank + 1])
            for where, cuts in zip(self.buckets, self.cuts, strict=True)
        ]

    @contextlib.contextmanager
    def leaf(self, number: int, shapes: Hashable = None) -> Iterator[None]:
        """Around forward and backward of one of this rank's micro-shards, in their order; the gradients are zero before.

        Parameters
        ----------
        number : int
            0 <= number < S.
        shapes : hashable, optional
            Of its batch; without it nothing is sent before `finish`.
        """
        if number != self._last:
            yield
            self._keep(self._merges[number])
            return
        self._counted = [0] * len(self.buckets)
        known = None if shapes is None else self._calls.get(shapes)
        self._left = None if known is None else list(known)
        self._note("backward", -1)
        with _watching(self.parameters, self._count):
            yield
        self._note("backward over", -1)
        if not self._surplus:
            self._calls[shapes] = self._counted if known is None else [*map(max, known, self._counted)]

    def finish(self) -> bool:
        """Send what was not sent, and wait for all of it.

        Returns
        -------
        bool
            False if a gradient came after its bucket was sent: the sums are not right, and the step is to be taken again.
        """
        while self._sent < len(self.buckets):
            self._send()
        wait_until(self._progress)
        self._note("finished", -1)
        right = not self._surplus
        self._spare += self._stack
        self._stack, self._sent, self._left, self._surplus = [], 0, None, False
        return right

    def forget(self) -> None:
        """Send nothing before the end of backward, until that is known anew: after a step that had to be taken again."""
        self._calls = {}

    def gather(self, flat: Array) -> None:
        """Give every rank the pieces of all.

        Parameters
        ----------
        flat : ndarray, shape (P,)
            With the layout of the flat buffer; this rank's own `pieces` are in place, and the others' are written into it.
        """
        pending = [self.communicator.all_gather(flat[where], cuts) for where, cuts in zip(self.buckets, self.cuts, strict=True)]
        for each in pending:
            each.wait()

    # --- one micro-shard ----------------------------------------------------------------------------------------------

    def _keep(self, merges: int) -> None:
        """Put the gradients on the stack, added to what they complete, and clear them."""
        gradient = self.parameters.gradient_flat  # (P,)
        for _ in range(merges):
            left = self._stack.pop()
            added(left, gradient, out=gradient)
            self._spare.append(left)
        kept = self._spare.pop() if self._spare else gradient.copy()
        kept[...] = gradient
        self._stack.append(kept)
        gradient[...] = 0

    def _send(self) -> None:
        """Send the next bucket."""
        where, cuts = self.buckets[self._sent], self.cuts[self._sent]
        own, merges = self.parameters.gradient_flat[where], self._merges[self._last]
        waiting = self._stack[: len(self._stack) - merges]
        for left in reversed(self._stack[len(waiting) :]):
            added(left[where], own, out=own)
        partials = [*(left[where] for left in waiting), own]
        method = self.communicator.all_reduce if self._whole else self.communicator.reduce_scatter
        self._pending.append(method(partials, own, cuts, self.tree, self._wire))
        self._note("sent", self._sent)
        self._sent += 1

    def _progress(self) -> bool:
        """Let what is under way go on; whether all of it has arrived."""
        for number, pending in enumerate(self._pending):
            if not pending.done():
                self._pending = self._pending[number:]
                return False
        self._pending = []
        return True

    # --- when gradients are final -------------------------------------------------------------------------------------

    def _touched(self) -> dict[int, range]:
        """Parameter, by its id -> the buckets in which it lies."""
        touched, count = {}, len(self.buckets)
        for name, where in self.parameters.slices().items():
            first, last = where.start // self._width, (where.stop - 1) // self._width  # from the buffer's start
            touched[id(self.parameters.entry(name))] = range(count - 1 - last, count - first)
        return touched

    def _count(self, parameter: Parameter) -> None:
        """A gradient was added to."""
        for bucket in self._touches[id(parameter)]:
            self._counted[bucket] += 1
            if bucket < self._sent:
                self._surplus = True
        if self._left is None or self._surplus:
            return
        for bucket in self._touches[id(parameter)]:
            self._left[bucket] -= 1
        while self._sent < len(self.buckets) and self._left[self._sent] == 0:
            self._send()
        for _ in range(LOOKS):
            if self._progress():
                break

    def _note(self, what: str, bucket: int) -> None:
        if self.trace is not None:
            self.trace.append((what, bucket, time.perf_counter()))


@contextlib.contextmanager
def _watching(parameters: Parameters, watch) -> Iterator[None]:
    """Inside this block ``watch(parameter)`` is called when a gradient was added to."""
    entries = [parameters.entry(name) for name in parameters]
    for parameter in entries:
        parameter.watch = watch
    try:
        yield
    finally:
        for parameter in entries:
            parameter.watch = None


def _buckets(size: int, width: int) -> list[slice]:
    """The buffer in parts of this width, the last part first, which may be shorter."""
    return [slice(start, min(start + width, size)) for start in range(0, size, width)][::-1]


def _cuts(where: slice, ranks: int, step: int) -> list[int]:
    """Where a bucket is cut into pieces, at multiples of `step` or its end: (ranks + 1,)."""
    size = where.stop - where.start
    steps = -(-size // step)
    return [min(size, rank * steps // ranks * step) for rank in range(ranks + 1)]
