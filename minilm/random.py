"""Keys of the counter-based random numbers."""

from __future__ import annotations

from typing import NamedTuple


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
        0 <= place < 2**32.
    """

    seed: int
    step: int = 0
    place: int = 0

    def fold(self, index: int) -> Key:
        """The key of part number `index` (0 <= index < 63) of this place: distinct for every path in a tree."""
        if not 0 <= index < 63:
            raise ValueError(f"index must lie in [0, 63), got {index}")
        place = self.place * 64 + index + 1
        if place >= 2**32:
            raise ValueError("a place is at most five parts deep")
        return self._replace(place=place)
