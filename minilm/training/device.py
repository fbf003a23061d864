"""What training on a GPU needs beside a model that is there: batches copied ahead, a precision, and losses read now and then."""

from __future__ import annotations

import contextlib

from minilm import devices

__all__ = ["READ_EVERY", "Unread", "active", "uploader"]

READ_EVERY = 50  # steps on a GPU, at most, until the host asks for their losses: to ask is to wait


@contextlib.contextmanager
def active(device: str, precision: str = "float32"):
    """Inside this block ids on a GPU are not checked again, since whoever made the batches did; and products have a precision.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        On a CPU the block changes nothing.
    precision : {"float32", "tf32", "bf16"}
        See `minilm.ops.cuda.products`.
    """
    if device == "cpu":
        yield
        return
    from minilm.ops.cuda import products

    with devices.ids_are_checked(), products.precision(precision):
        yield


def uploader(device: str):
    """The function that copies a batch to a device: a `minilm.training.upload.Upload`; on a CPU it returns the batch itself."""
    if device == "cpu":
        return lambda batch: batch
    from minilm.training.upload import Upload

    return Upload()


class Unread:
    """Losses of steps, and the norms of their gradients, that nobody has looked at yet.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where they lie: on a GPU to look at them is to wait for it.
    """

    def __init__(self, device: str):
        self._every = 1 if device == "cpu" else READ_EVERY
        self._steps: list[tuple] = []

    def add(self, step: int, loss, norm) -> None:
        """Take in those of a step; a norm may be None."""
        self._steps.append((step, loss, norm))

    @property
    def due(self) -> bool:
        """Whether it is time to look: on a CPU always."""
        return len(self._steps) >= self._every

    def read(self) -> list[tuple[int, float, float | None]]:
        """(step, loss, norm) of all of them; there is none left then."""
        steps, self._steps = devices.to_host(self._steps), []
        return [(step, float(loss), None if norm is None else float(norm)) for step, loss, norm in steps]
