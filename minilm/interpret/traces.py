"""Gates, cells and states of recurrent models, token by token.

A gate near 0 or 1 is shut or open; units whose forget gate stays near 1 carry a cell over many tokens: some of these count
something that a person can name, such as the length of the line or being inside of quotes.

Reference: A. Karpathy, J. Johnson, L. Fei-Fei, Visualizing and understanding recurrent networks, ICLR workshop 2016.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.probes import Explained, probe_of

__all__ = ["Traces", "traces"]

SHUT, OPEN = 0.1, 0.9


class Traces(NamedTuple):
    """What went on inside of L layers of H units over T tokens."""

    values: dict[str, np.ndarray]  # name -> (L, T, H), such as "forget gate f"; "cell c" and "state h" after each token
    shut: dict[str, np.ndarray]  # gate -> (L, H), the part of the tokens at which it is below 0.1
    open: dict[str, np.ndarray]  # gate -> (L, H), likewise above 0.9


def traces(model: Explained, ids: ArrayLike) -> Traces:
    """Gates, cells and states after each token.

    Parameters
    ----------
    model : RNNLanguageModel, or its `Probe`
    ids : ndarray of integers, shape (T,)

    Returns
    -------
    Traces
        Gates of an LSTM are i, f and o, with the candidate g and the cell c; of a GRU r and z, with the candidate n; a plain
        RNN has the state h alone, as all have.

    Raises
    ------
    ValueError
        For a model that is not recurrent.
    """
    probe = probe_of(model)
    if not probe.recurs:
        raise ValueError(probe.lacks["traces"])
    values = probe.traces(probe.checked(ids))
    gates = {name: value for name, value in values.items() if "gate" in name}
    shut = {name: (value < SHUT).mean(axis=1) for name, value in gates.items()}
    return Traces(values, shut, {name: (value > OPEN).mean(axis=1) for name, value in gates.items()})
