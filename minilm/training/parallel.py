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

import numpy as np

from minilm import devices, distributed
from minilm.distributed import Communicator, Node, Reduction, ShardedUpdate, Tree
from minilm.distributed.sharding import CHUNK
from minilm.ops.workspace import scratch
from minilm.optimizers import Optimizer, WeightAverage
from minilm.random import Key
from minilm.training.agreement import Agreement
from minilm.training.config import RunConfig
from minilm.training.protocol import LanguageModel
from minilm.training.step import NoLoss, Step, forward_backward_parts, joined, rows_of
from minilm.typing import Array, State

__all__ = ["ParallelStep", "check_ranks", "settled", "usual_shards"]

USUAL = 8  # micro-shards at most, where nothing is said: small ones make small matrix products


def usual_shards(batch: int, accumulate: int = 1) -> int:
    """How many micro-shards a batch is cut into where nothing is said: the largest divisor up to `USUAL`."""
    return max(number for number in range(1, USUAL + 1) if batch % (number * accumulate) == 0)


def settled(config: RunConfig) -> RunConfig:
    """The configuration of a new run with its number of micro-shards.

    Raises
    ------
    ValueError
        There are more ranks than micro-shards; or CUDA graphs are wanted, which one process alone can launch.
    """
    communicator = distributed.current()
    if config.micro_shards is None and communicator.name != "none":
        config = config.replace(micro_shards=usual_shards(config.batch, config.accumulate))
    check_ranks(communicator.size, config.shards, config.batch)
    if config.cuda_graphs and config.device != "cpu" and (communicator.size > 1 or config.shards > 1):
        raise ValueError("cuda_graphs is for one process and micro_shards=1")
    return config


def check_ranks(ranks: int, shards: int, batch: int) -> None:
    """ValueError if there are more ranks than micro-shards."""
    if ranks > shards:
        raise ValueError(
            f"{ranks} processes share the micro-shards of a batch, so micro_shards must be at least {ranks} (a divisor of "
            f"batch={batch}), got micro_shards={shards}"
        )


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
        S, micro-shards: a divisor of B, and at least as many as ranks.
    shard_optimizer : bool
        Keep the optimizer's state in pieces, see `minilm.distributed.sharding`.
    wire : {"float32", "bf16"}
        See `minilm.distributed.Communicator`.

    Attributes
    ----------
    rows : slice
        Of the batch, those that this rank computes. A recurrent state is of these rows alone.
    reduction : Reduction
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
        communicator: Communicator = agreement.communicator
        check_ranks(communicator.size, shards, batch)
        self._agreement, self._tree = agreement, Tree(shards, communicator.size)
        self._owned = self._tree.owned(communicator.rank)
        self._rows = batch // shards  # of a micro-shard
        self.rows = slice(self._owned.start * self._rows, self._owned.stop * self._rows)
        pieces = {"whole": False, "step": CHUNK} if shard_optimizer else {}
        self.reduction = Reduction(communicator.on(model.device), model.parameters, self._tree, wire=wire, **pieces)
        self._sharded = ShardedUpdate(self.reduction, optimizer) if shard_optimizer else None

    def gradients(self, batch: tuple, state: State | None, keys: list[Key], counts: np.ndarray) -> tuple:
        while True:
            losses, after = self._own_gradients(batch, state, keys, counts)
            right = self.reduction.finish()
            most = len(self._tree.owned(self._tree.ranks - 1))  # micro-shards of a rank: the last has as many as any
            exchanged = self._agreement.exchange([float(not right), *losses, *[0.0] * (most - len(losses))])
            if not exchanged[:, 0].any():
                break
            self.model.parameters.zero_gradients()  # a gradient came late on some rank: see `Reduction`
            self.reduction.forget()
        loss = self._total(exchanged[:, 1:])
        if not math.isfinite(loss):
            raise NoLoss(f"the loss is {loss}")
        return loss, after

    def norm(self) -> Array:
        return super().norm() if self._sharded is None else self._sharded.norm()

    def update(self, lr, norm, number=None) -> None:
        if self._sharded is None:
            super().update(lr, norm, number)
        else:
            self._sharded.step(lr, norm)

    def whole_state(self, state: State | None) -> State | None:
        """A recurrent state of this rank's rows, (layers, rows, H) each, as that of the batch. All ranks call it together."""
        if state is None or self._tree.ranks == 1:
            return state
        if isinstance(state, tuple):
            return tuple(self.whole_state(part) for part in state)
        layers, _, H = state.shape
        most = len(self._tree.owned(self._tree.ranks - 1)) * self._rows
        padded = np.zeros((layers, most, H))  # as many numbers from all ranks; float64 holds a float32
        padded[:, : state.shape[1]] = devices.to_host(state)
        parts = self._agreement.communicator.exchange(padded.reshape(-1)).reshape(-1, layers, most, H)
        rows = [len(self._tree.owned(rank)) * self._rows for rank in range(self._tree.ranks)]
        whole = np.concatenate([part[:, :count] for part, count in zip(parts, rows, strict=True)], axis=1)
        return devices.to_device_of(state, whole.astype(state.dtype))

    def _own_gradients(self, batch, state, keys, counts) -> tuple:
        """The weighted loss of each of this rank's micro-shards, and the state after them; NaN where there is no loss."""
        losses, states = [], []
        parts = len(keys) // self._tree.leaves
        totals = counts.sum(axis=0)  # (losses,)
        for place, shard in enumerate(self._owned):
            part = tuple(array[shard * self._rows : (shard + 1) * self._rows] for array in batch)
            before = rows_of(state, slice(place * self._rows, (place + 1) * self._rows))
            these = slice(shard * parts, (shard + 1) * parts)
            shapes = tuple(array.shape for array in part)
            with self.reduction.leaf(shard, shapes), scratch():
                try:
                    loss, after = forward_backward_parts(self.model, part, before, keys[these], counts[these], totals)
                except NoLoss:
                    loss, after = math.nan, before
            losses.append(float(loss))
            states.append(after)
        return losses, joined(states)

    def _total(self, losses: np.ndarray) -> float:
        """The sum of the micro-shards' losses in the tree's order; (ranks, most of one) with zeros beyond a rank's own."""
        sums = [losses[rank, place] for rank in range(self._tree.ranks) for place in range(len(self._tree.owned(rank)))]
        for into, number in self._tree.additions(Node(leaf, leaf + 1) for leaf in range(self._tree.leaves)):
            sums[into] += sums[number]
        return float(sums[0])
