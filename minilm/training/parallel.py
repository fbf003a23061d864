r"""A step of training whose batch is cut into micro-shards, which the ranks of a job share.

A batch of B rows is cut into S micro-shards of B / S rows, a number that follows from the batch and never from the ranks. With
n_s targets in micro-shard s,

.. math:: dL = \sum_s w_s \, dL_s, \qquad w_s = n_s / \sum_t n_t

Micro-shard s goes through the model by itself: its gradients depend on the weights, its rows and its dropout, whose key is a
function of seed, step and s. So they have the same bits wherever it is computed, and `minilm.distributed.tree` sums them in an
order that depends on S alone. The norm, clipping and the update follow from that sum. So 1, 2, 3 and S ranks train the same
weights, bit for bit, and a run that stops may go on with another number of ranks.

Within a micro-shard, ``accumulate`` parts its rows once more, to save memory; those gradients add up one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from minilm import devices, distributed
from minilm.distributed import Node, Reduction, ShardedUpdate, Tree
from minilm.distributed.sharding import CHUNK
from minilm.layers.parameters import Parameters
from minilm.ops.workspace import scratch
from minilm.optimizers import Optimizer, WeightAverage
from minilm.random import Key
from minilm.training.agreement import Agreement
from minilm.training.config import RunConfig
from minilm.training.protocol import LanguageModel
from minilm.training.step import NoLoss, Step, forward_backward_parts, joined, rows_of
from minilm.typing import Array, State

__all__ = ["ParallelStep", "SharedGradients", "check_ranks", "settled", "usual_shards"]

USUAL = 8  # micro-shards at most, where nothing is said: small ones make small matrix products


def usual_shards(batch: int, accumulate: int = 1) -> int:
    """How many micro-shards a batch is cut into where nothing is said: the largest divisor up to `USUAL`."""
    return max(number for number in range(1, USUAL + 1) if batch % (number * accumulate) == 0)


def settled(config: RunConfig) -> RunConfig:
    """The configuration of a new run with its number of micro-shards.

    Raises
    ------
    ValueError
        There are more ranks than micro-shards; or CUDA graphs are wanted, which one process alone can launch, or that steps are
        skipped, which it alone can decide.
    """
    communicator = distributed.current()
    if config.micro_shards is None and communicator.name != "none":
        config = config.replace(micro_shards=usual_shards(config.batch, config.accumulate))
    check_ranks(communicator.size, config.shards, config.batch)
    if config.cuda_graphs and config.device != "cpu" and (communicator.size > 1 or config.shards > 1):
        raise ValueError("cuda_graphs is for one process and micro_shards=1")
    if config.non_finite == "skip" and communicator.size > 1:
        raise ValueError("non_finite='skip' is for one process: others would wait for the gradients of a step that is skipped")
    return config


def check_ranks(ranks: int, shards: int, batch: int) -> None:
    """ValueError if there are more ranks than micro-shards."""
    if ranks > shards:
        raise ValueError(
            f"{ranks} processes share the micro-shards of a batch, so micro_shards must be at least {ranks} (a divisor of "
            f"batch={batch}), got micro_shards={shards}"
        )


class SharedGradients:
    """The gradients of a batch's micro-shards, each computed by one rank and summed in the fixed tree.

    Parameters
    ----------
    parameters : Parameters
        Whose gradients are summed.
    agreement : Agreement
    shards : int
        S, micro-shards; at least as many as ranks.
    **options
        Of `Reduction`.

    Attributes
    ----------
    tree : Tree
    owned : range
        The micro-shards of this rank.
    reduction : Reduction
    """

    def __init__(self, parameters: Parameters, agreement: Agreement, shards: int, **options: Any):
        communicator = agreement.communicator
        self._parameters, self._agreement = parameters, agreement
        self.tree = Tree(shards, communicator.size)
        self.owned = self.tree.owned(communicator.rank)
        self.reduction = Reduction(communicator.on(parameters.device), parameters, self.tree, **options)

    def sum(self, compute: Callable[[int], float], shapes: Callable[[int], Hashable]) -> float:
        """Leave the sum of all gradients in their buffer. All ranks call it together.

        Parameters
        ----------
        compute : callable
            ``compute(shard)`` adds the weighted gradients of one of the own micro-shards to the buffer, and gives its weighted
            loss, or NaN. It may be called for a step once more.
        shapes : callable
            ``shapes(shard)`` are those of its batch.

        Returns
        -------
        loss : float
            The sum of all losses.
        """
        while True:
            losses = []
            for shard in self.owned:
                with self.reduction.leaf(shard, shapes(shard)), scratch():
                    losses.append(float(compute(shard)))
            right = self.reduction.finish()
            spare = [0.0] * (self._most - len(losses))
            exchanged = self._agreement.exchange([float(not right), *losses, *spare])
            if not exchanged[:, 0].any():
                return self._total(exchanged[:, 1:])
            self._parameters.zero_gradients()  # a gradient came late on some rank: see `Reduction`
            self.reduction.forget()

    def whole_rows(self, array: Array, rows: int) -> Array:
        """An array (layers, own rows, H) with `rows` for each micro-shard, as that of all ranks: (layers, B, H)."""
        most, (layers, own, H) = self._most * rows, array.shape
        padded = np.zeros((layers, most, H))  # of one size on all ranks; float64 holds a float32
        padded[:, :own] = devices.to_host(array)
        parts = self._agreement.communicator.exchange(padded.reshape(-1)).reshape(-1, layers, most, H)
        counts = [len(self.tree.owned(rank)) * rows for rank in range(self.tree.ranks)]
        whole = np.concatenate([part[:, :count] for part, count in zip(parts, counts, strict=True)], axis=1)
        return devices.to_device_of(array, whole.astype(array.dtype))

    @property
    def _most(self) -> int:
        """Micro-shards of a rank: the last one has as many as any."""
        return len(self.tree.owned(self.tree.ranks - 1))

    def _total(self, losses: np.ndarray) -> float:
        """The sum of the micro-shards' losses in the tree's order; (ranks, most of one) with zeros beyond a rank's own."""
        sums = [losses[rank, place] for rank in range(self.tree.ranks) for place in range(len(self.tree.owned(rank)))]
        for into, number in self.tree.additions(Node(leaf, leaf + 1) for leaf in range(self.tree.leaves)):
            sums[into] += sums[number]
        return float(sums[0])


class ParallelStep(Step):
    """A `Step` of which each rank does its part. All ranks call it together, with the same whole batch.

    Parameters
    ----------
    model, optimizer, average
        See `Step`.
    agreement : Agreement
    batch : int
        B, rows.
    shards : int
        S, micro-shards: a divisor of B.
    shard_optimizer : bool
        Keep the optimizer's state in pieces, see `minilm.distributed.sharding`.
    wire : {"float32", "bf16"}
        See `minilm.distributed.Communicator`.

    Attributes
    ----------
    rows : slice
        Of the batch, those that this rank computes. A recurrent state is of these rows alone.
    shared : SharedGradients
    """

    def __init__(
        self,
        model: LanguageModel,
        optimizer: Optimizer,
        average: WeightAverage | None,
        agreement: Agreement,
        *,
        batch: int,
        shards: int,
        shard_optimizer: bool = False,
        wire: str = "float32",
    ):
        super().__init__(model, optimizer, average)
        pieces: dict[str, Any] = {"whole": False, "step": CHUNK} if shard_optimizer else {}
        self.shared = SharedGradients(model.parameters, agreement, shards, wire=wire, **pieces)
        self._rows = batch // shards  # of a micro-shard
        owned = self.shared.owned
        self.rows = slice(owned.start * self._rows, owned.stop * self._rows)
        self._sharded = ShardedUpdate(self.shared.reduction, optimizer) if shard_optimizer else None

    def gradients(self, batch: tuple, state: State | None, keys: list[Key], counts: np.ndarray) -> tuple:
        parts, totals = len(keys) // self.shared.tree.leaves, counts.sum(axis=0)  # (losses,)
        states: dict[int, Any] = {}

        def rows(shard: int) -> tuple:
            return tuple(array[shard * self._rows : (shard + 1) * self._rows] for array in batch)

        def compute(shard: int) -> float:
            place = shard - self.shared.owned.start
            before = rows_of(state, slice(place * self._rows, (place + 1) * self._rows))
            these = slice(shard * parts, (shard + 1) * parts)
            try:
                loss, states[shard] = forward_backward_parts(self.model, rows(shard), before, keys[these], counts[these], totals)
            except NoLoss:  # the other ranks wait for this one's part
                loss, states[shard] = math.nan, before
            return loss

        loss = self.shared.sum(compute, lambda shard: devices.mapped(rows(shard), np.shape))
        if not math.isfinite(loss):
            raise NoLoss(f"the loss is {loss}")
        return loss, joined([states[shard] for shard in self.shared.owned])

    def norm(self) -> Any:
        return super().norm() if self._sharded is None else self._sharded.norm()

    def update(self, lr: float | Array, norm: Any, number: Array | None = None) -> None:
        if self._sharded is None:
            super().update(lr, norm, number)
        else:
            self._sharded.step(lr, norm)

    def whole_state(self, state: State | None) -> State | None:
        """A recurrent state of this rank's rows, (layers, rows, H) each, as that of the batch. All ranks call it together."""
        if isinstance(state, tuple):
            return tuple(self.whole_state(part) for part in state)
        return None if state is None else self.shared.whole_rows(state, self._rows)
