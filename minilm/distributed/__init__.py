"""Training on several processes, GPUs and hosts: data parallel, with the same bits for any number of ranks.

::

    mpiexec -n 4 minilm train --corpus book.txt --out runs/four
    srun minilm train ...                                        # Slurm

    from minilm import distributed, training
    with distributed.job() as communicator:                      # in a program that mpiexec starts
        training.train(config, out="runs/four")

===================  ============================================================================================
`job`                connects the ranks, and ends all of them if one fails
`communicator`       what they say to each other; without others, by MPI (`mpi`), by NCCL between GPUs (`nccl`)
`tree`               the order in which gradients are summed, the same for any number of ranks
`reduction`          that sum, beside the backward pass
`sharding`           ZeRO-1: the optimizer's state in pieces
`heartbeat`          ranks that have vanished
===================  ============================================================================================

The step of training that uses it is `minilm.training.parallel`.
"""

from minilm.distributed.communicator import Alone, Communicator, Pending
from minilm.distributed.job import current, first_alone, job, launched, require_same
from minilm.distributed.reduction import Reduction
from minilm.distributed.sharding import ShardedUpdate
from minilm.distributed.tree import Node, Tree

__all__ = [
    "Alone",
    "Communicator",
    "Node",
    "Pending",
    "Reduction",
    "ShardedUpdate",
    "Tree",
    "current",
    "first_alone",
    "job",
    "launched",
    "require_same",
]


def __dir__() -> list[str]:
    return sorted(__all__)
