"""One training run on several processes, with the same bits as on one.

    python -m minilm.examples.data_parallel
    mpiexec -n 2 python -m minilm.examples.data_parallel            (pip install "minilm[mpi]")

A batch is cut into micro-shards, whatever the number of processes: each takes some of them, and the gradients are summed in an
order that depends on the shards alone. So the digest of the weights that is printed is the same. How: the book's chapter on data
parallelism; whether it pays, ``minilm plan``.
"""

from __future__ import annotations

import hashlib
import os
import tempfile

from minilm import distributed, training

SETTINGS = {"model.hidden_size": 64, "batch": 8, "micro_shards": 4, "sample.tokens": 0, "evaluate_tokens": 2000}


def main(steps: int = 100) -> str:
    """Train, and print the loss and the digest of the weights, which is returned."""
    with distributed.job() as job, tempfile.TemporaryDirectory() as folder:
        config = training.configuration(options={**SETTINGS, "steps": steps})
        result = training.train(config, out=os.path.join(folder, "run"))
        digest = hashlib.sha256(result.model.parameters.flat.tobytes()).hexdigest()
        if job.rank == 0:
            processes = f"{job.size} process{'es' * (job.size > 1)}"
            print(f"{processes}, {steps} steps: loss {result.evaluation.loss:.4f}, weights {digest[:16]}")
        return digest


if __name__ == "__main__":
    main()
