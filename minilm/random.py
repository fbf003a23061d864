"""Keys of the counter-based random numbers."""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

__all__ = ["DROPOUT_KEYS", "Key", "at"]

DROPOUT_KEYS = 2  # the way in which `Key.at` numbers places: another gives other masks, so a checkpoint names its own


class Key(NamedTuple):
    """Names one stream of random numbers: from the seed, the training step, and the place in the model.

    The numbers themselves come from Philox (`minilm.ops.philox`): they are a function of the key and of an element's
    index alone. So dropout stores no mask (backward draws it again), CPU and GPU draw the same numbers, and a
    resumed run repeats the run that was never stopped.

    Parameters
    ----------
    seed : int
        0 <= seed < 2**64.
    step : int
        0 <= step < 2**64. For the GPU also an array of one int64 there, whose number may change from one launch of a CUDA graph
        to the next.
    place : int
        0 <= place < 2**64; 0 is the model as a whole.
    """

    seed: int
    step: int = 0
    place: int = 0

    def at(self, path: str) -> Key:
        """The key of a part of this place, by its dotted name there: ``key.at("h.3").at("attn")``.

        The part's place is a hash of 64 bits of this place and the name. Among n places two are the same with a probability below
        n² / 2**65: of a million, 1 in 30 million.
        """
        return Key(self.seed, self.step, _hashed(self.place, path))


def at(key: Key | None, path: str) -> Key | None:
    """``key.at(path)``, or None where there is no key, and so no dropout."""
    return None if key is None else key.at(path)


@functools.lru_cache(maxsize=1 << 14)
def _hashed(place: int, path: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{place} {path}".encode(), digest_size=8).digest(), "little")


def __dir__() -> list[str]:
    return sorted(__all__)
