"""Hashes of what every op, layer and model computes, for one setting of the threads: ``python -m tests.same_bits``.

::

    OPENBLAS_NUM_THREADS=1 MINILM_THREADS=1 python -m tests.same_bits > one.json
    OPENBLAS_NUM_THREADS=4 MINILM_THREADS=4 python -m tests.same_bits > four.json && cmp one.json four.json

A BLAS takes the number of its threads when it is loaded, so each setting wants a process. `tests.test_same_bits` compares some.

==========================  =================================================================================================
op NAME, SIZE, PRECISION    forward and backward, at the smallest sizes of its contract and at the largest below 300
layer NAME, model NAME      forward and backward at the sizes of the gradient checks, float64; of a model then --steps steps
training NAME               --steps steps of AdamW, dropout on, at sizes of which threads get parts
==========================  =================================================================================================
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from collections.abc import Iterator

import numpy as np

from minilm.gradcheck.cases import LAYERS, MODELS
from minilm.gradcheck.subjects import subject_of
from tests import test_same_bits as cases
from tests.ops.properties import OPS, draw, run

RATE = 1e-3


def op_results(steps: int) -> Iterator[tuple[str, list[bytes]]]:
    """Of every op."""
    for name, op in OPS.items():
        sizes = {
            "small": op.tiny(),
            "large": {letter: max(c for c in choices if c <= 300) for letter, choices in op.dims.items()},
        }
        for size, dims in sizes.items():
            for dtype in (np.float32, np.float64):
                result = run(op, "cpu", draw(op, dtype, dims))
                kept = (*result.outputs.values(), *result.gradients.values())
                yield f"op {name}, {size}, {np.dtype(dtype).name}", [np.ascontiguousarray(each).tobytes() for each in kept]


def module_results(steps: int) -> Iterator[tuple[str, list[bytes]]]:
    """Of every case of every layer and model."""
    for kind, table in (("layer", LAYERS), ("model", MODELS)):
        for name, builds in table.items():
            for label, build in builds.items():
                yield f"{kind} {name}, {label}", list(_steps(*build(), steps if kind == "model" else 1))


def _steps(module, inputs, options, steps: int) -> Iterator[bytes]:
    subject, rng, cotangents = subject_of(module, inputs, options), np.random.default_rng(0), None
    for step in range(steps):
        outputs, saved = subject.forward()
        if cotangents is None and not subject.scalar:
            parts = isinstance(outputs, tuple)
            drawn = [rng.standard_normal(np.shape(each)) for each in (outputs if parts else [outputs])]
            cotangents = outputs.__class__(*drawn) if parts else drawn[0]
        gradients = subject.backward(cotangents, saved)[0]
        if step in (0, steps - 1):
            yield from cases.arrays(outputs)
            yield from cases.arrays(gradients)
        for key, array in subject.arrays.items():
            if steps > 1 and gradients.get(key) is not None:
                array -= RATE * gradients[key]


def training_results(steps: int) -> Iterator[tuple[str, list[bytes]]]:
    """Of training at sizes of which threads get parts."""
    for name in cases.TRAINED:
        yield f"training {name}", [cases.trained(name, steps)]


def main() -> int:
    """Print one JSON object: label to sha256."""
    parser = argparse.ArgumentParser(prog="python -m tests.same_bits", description=__doc__.partition("::")[0])
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with np.errstate(all="ignore"):
        labels = {}
        for results in (op_results, module_results, training_results):
            for label, parts in results(args.steps):
                labels[label] = hashlib.sha256(b"".join(len(part).to_bytes(8, "little") + part for part in parts)).hexdigest()[
                    :16
                ]
    print(json.dumps(labels, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
