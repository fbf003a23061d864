"""Runs all kernels of an op under a sanitizer, as they are or with a barrier deleted. Started by tests/cuda_on_cpu/sanitized.py.

python -m tests.ops.gpu_sanitized address|thread OP    prints "clean"
python -m tests.ops.gpu_sanitized barriers OP          JSON: [[file, line, whether it shows that it is left out], ...]
"""

from __future__ import annotations

import json
import os
import re
import sys

import numpy as np

from minilm import devices, ops
from minilm.ops import FOLDERS, registry
from tests.cuda_on_cpu import loader, sanitized
from tests.ops import gpu
from tests.ops.properties import draw

BARRIER = re.compile(r"__syncthreads\(\);|__threadfence\(\);|\bgrid_barrier\([^;\n]*\);")  # whatever orders threads
SHARED = {
    "softmax": ("minilm_cuda.h", "online.h"),
    "linear": ("columns.cu",),
    "lstm": ("grid.h", "slices.h"),
}  # files that ops share, by the op that needs all of it
CASES = {  # small, but with more than one warp and more than one tile
    "linear": [({"N": 17, "I": 33, "O": 17}, {})],
    "embedding": [({"N": 20, "V": 11, "D": 40}, {})],
    "activations": [({"N": 300}, {})],
    "softmax": [({"N": 3, "V": 70}, {})],
    "cross_entropy": [({"N": 70, "V": 70}, {}), ({"N": 3, "V": 70}, {"weighting": "both"})],
    "dropout": [({"N": 2, "T": 7, "D": 17}, {})],
    "layer_norm": [({"N": 9, "D": 40}, {})],
    "rms_norm": [({"N": 9, "D": 40}, {})],
    "rotary": [({"B": 2, "T": 5, "H": 3, "R/2": 10}, {"listed": True, "part": True})],
    "gated": [({"N": 300}, {})],
    "residual_layer_norm": [({"N": 9, "D": 40}, {})],
    "rnn": [({"T": 3, "B": 3, "D": 2, "H": 17}, {"padded": True})],
    "lstm": [({"T": 3, "B": 5, "D": 2, "H": 17}, {"padded": True})],
    "gru": [({"T": 3, "B": 5, "D": 2, "H": 17}, {"padded": True})],
    "attention": [
        ({"B": 1, "Tq": 18, "Tk": 34, "H": 1, "K": 3, "Kv": 2}, {"dropout": 0.3}),
        ({"B": 1, "Tq": 18, "Tk": 1, "H": 1, "K": 3, "Kv": 2}, {"sees": "causal"}),
    ],
    "additive_attention": [({"B": 1, "Tq": 2, "Tk": 70, "A": 17, "D": 40}, {"padded": False})],
    "crf": [({"B": 2, "T": 4, "K": 40}, {"padded": False})],
    "negative_sampling": [({"N": 9, "V": 31, "D": 40, "K": 3}, {})],
    "philox": [({"N": 300}, {})],
    "sampling": [({"B": 2, "V": 70}, {"limits": "both", "logits": logits}) for logits in ("smooth", "ties")],
    "sgd": [({"N": 300}, {})],
    "adam": [({"N": 300}, {})],
    "clip": [({"N": 5000}, {})],
    "rmsprop": [({"N": 300}, {"rule": rule, "clear": True}) for rule in ("plain", "centred, momentum")],
    "lion": [({"N": 300}, {"clear": True})],
    "muon": [({"O": 9, "I": 40}, {"clear": True}), ({"O": 40, "I": 9}, {"rule": "plain", "at": 1})],
}

ONE_QUERY = [
    ({"B": 1, "Tq": 1, "Tk": 130, "H": 1, "K": 3, "Kv": 2}, {"padded": True})
]  # of attention: more than one chunk of keys
GROUPED = [  # of attention, not for the deletion of barriers: it would take long, and the same kernels run without groups
    ({"B": 1, "Tq": 18, "Tk": 34, "H": 2, "K": 3, "Kv": 2}, {"sees": "causal grouped", "padded": True}),
    ({"B": 1, "Tq": 1, "Tk": 130, "H": 2, "K": 3, "Kv": 2}, {"sees": "causal grouped"}),
]
TENSOR_CORES = [  # of attention: more than one block, and more than one tile of each kernel
    ({"B": 1, "Tq": 70, "Tk": 70, "H": 1, "K": 3, "Kv": 2}, {"dropout": 0.3}),
    ({"B": 1, "Tq": 18, "Tk": 36, "H": 1, "K": 8, "Kv": 4}, {"sees": "causal", "dropout": 0.3}),
    ({"B": 1, "Tq": 18, "Tk": 36, "H": 2, "K": 8, "Kv": 4}, {"sees": "causal grouped", "padded": True}),
]
SLICED = [({"T": 2, "B": 2, "D": 2, "H": 17}, {"padded": False})]  # of lstm and gru: six blocks, and two chunks of a product
CASES_OF = {"one_query.cu": ONE_QUERY, "sliced.cu": SLICED}
VERSIONS = (1, 2, 3)
DELETED = "MINILM_TEST_DELETED_BARRIER"  # its number, to the kernels' process
STUCK, FAILED = 3, 4  # statuses of that process


def tables(folder: str):
    """The op's own tables, and that which has what ops share."""
    module = devices.load(f"minilm.ops.{folder}", "gpu")
    own = [module.tensor("bf16", module.WIDTHS[0]), module.ONE_QUERY] if folder == "attention" else []
    own += [module.sliced.KERNELS] if folder in ("lstm", "gru") else []
    return [module.KERNELS, *own, devices.load("minilm.ops.cuda", "columns").KERNELS]


def run(folder: str) -> None:
    """Every kernel that the folder's ops launch."""
    plain(folder)
    if folder == "attention":
        plain(folder, cases=[*ONE_QUERY, *GROUPED])
        tensor_cores()
    if folder in ("lstm", "gru"):
        plain(folder, (3,), SLICED)


def tensor_cores(precisions=("tf32", "bf16"), cases=TENSOR_CORES) -> None:
    """Attention on tensor cores."""
    op = registry()["attention"]
    for precision in precisions:
        with devices.load("minilm.ops.cuda", "products").precision(precision):
            for dims, options in cases:
                gpu.run(op, draw(op, np.float32, dims, {"sees": "all", "padded": False, "dropout": 0.0, **options}))


def plain(folder: str, versions=VERSIONS, cases=None) -> None:
    """Every op of the folder, by these versions where it has one of them, forward and backward, float32."""
    for op in registry().values():
        if op.package != f"minilm.ops.{folder}":
            continue
        for dims, options in cases or CASES[folder]:
            dims = {letter: size for letter, size in dims.items() if letter in op.dims}
            known = {key: value for key, value in options.items() if key in op.options}
            case = draw(op, np.float32, dims, {**{key: values[0] for key, values in op.options.items()}, **known})
            for number in [number for number in gpu.versions(op) if number in versions] or gpu.versions(op):
                with gpu.version(op, number):
                    gpu.run(op, case)
            if folder == "crf":
                scores = {key: value for key, value in case.arguments.items() if key != "tags"}
                ops.crf.decode(**devices.to_device(scores))


def places(text: str):
    """(where it begins and ends in the text, file, line) of every barrier and fence."""
    file, line, at = "", 0, 0
    for row in text.splitlines(keepends=True):
        directive = re.match(r'#line (\d+) "(.+)"', row)
        if directive:
            line, file = int(directive[1]) - 1, directive[2]
        else:
            for match in BARRIER.finditer(row):
                yield at + match.start(), at + match.end(), file, line
        at += len(row)
        line += 1


def switchable(text: str, files) -> tuple[str, list]:
    """The text that leaves out the barrier whose number stands in the variable `DELETED`, and (file, line) of each barrier."""
    parts, at, numbered = [f'#include <cstdlib>\nstatic const int deleted = std::atoi(std::getenv("{DELETED}"));\n'], 0, []
    for start, end, file, line in places(text):
        if file in files:
            parts += [text[at:start], f"do {{ if (deleted != {len(numbered)}) {text[start:end]} }} while (0);"]
            numbered.append((file, line))
            at = end
    return "".join([*parts, text[at:]]), numbered


def shows(number: int, program) -> bool:
    """Whether a program that leaves out this barrier has a race, or threads that wait in vain.

    It runs in a process of its own, which loads the kernels anew and ends with the first report. This process runs no kernel:
    ThreadSanitizer is silent after a fork from one that has threads, and fibres are threads to it.
    """
    before = len(sanitized.reports())
    child = os.fork()
    if not child:
        os.environ[DELETED] = str(number)
        status = FAILED
        try:
            program()
            status = 0
        except loader.LaunchError:
            status = STUCK
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, STUCK, sanitized.REPORTED):
        raise RuntimeError(f"barrier {number} left out, the kernels' process ended with status {status}")
    return status == STUCK or "data race" in sanitized.reports()[before:]


def barriers(folder: str) -> list:
    """Whether something shows when each barrier is left out: the op's own, and shared ones that are its to test."""
    results = []
    for table in tables(folder):
        shared = set(SHARED.get(folder, ()))
        files = shared | {table.path.name} if table.path.parent.name == folder else shared & {table.path.name}
        whole = table.text
        table.text, numbered = switchable(whole, files)
        type(table).function.cache_clear()
        for number, place in enumerate(numbered):
            results.append([*place, shows(number, lambda: with_barriers(folder, table.path.name))])  # noqa: B023
        table.text = whole
        type(table).function.cache_clear()
    return results


def with_barriers(folder: str, file: str) -> None:
    """Run what the folder's ops launch of a file, but the first versions, which have no barriers."""
    if file == "tensor.cu":  # its barriers are the same in both precisions
        tensor_cores(["bf16"], TENSOR_CORES[:1])
    else:
        versions = (3,) if file == "sliced.cu" else (2,) if folder in ("lstm", "gru") else VERSIONS[1:]
        plain(folder, versions, CASES_OF.get(file))


if __name__ == "__main__":
    sanitized.spare_children()
    what, folder_ = sys.argv[1:]
    assert folder_ in FOLDERS
    with gpu.emulated(sanitizer="thread" if what == "barriers" else what):
        if what != "barriers":
            run(folder_)
            print("clean")
        elif shows(-1, lambda: run(folder_)):
            print("something shows with all barriers in place")
        else:
            print("RESULT", json.dumps(barriers(folder_)))
