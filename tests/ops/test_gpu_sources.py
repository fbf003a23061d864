"""What no number shows on small arrays: offsets of 64 bits, and additions that other blocks do not undo."""

import re
import subprocess

import numpy as np
import pytest

from minilm import devices, ops
from minilm.ops import FOLDERS
from tests.cuda_on_cpu import loader
from tests.ops import gpu
from tests.ops.test_gpu_compiles import SHARED, SLICED, tables

INCLUDE = loader.INCLUDE
CAST = re.compile(r"(?<![\w:])(?:int|u32|unsigned|short|u16)\((?!\))")


def unpacked(text, start):
    """What stands in the parentheses that open before `start`."""
    depth, stop = 1, start
    while depth:
        depth += {"(": 1, ")": -1}.get(text[stop], 0)
        stop += 1
    return text[start : stop - 1]


# What is cast, and why it is small; a cast that is new belongs here once somebody has looked at it.
SMALL = {
    "threadIdx.x", "blockDim.x",  # at most 1,024
    "min(i64(ROWS), B - first)", "min(i64(U), H - first_unit)", "min(i64(team_of.rows), end_row - at_row)",  # of a tile
    "min(i64(chunk), K - first)", "min(i64(blockDim.x) / (t.groups * outs), (K + 3) / 4)", "(columns + 3) / 4 * 4 + PAD",
    "ROW_BYTES / sizeof(REAL)", "(largest - x) / width * (BINS - 1)", "__ffs(int(beyond)) - 1", "beyond",
    "step * gridDim.x", "(T - 1 - step) * gridDim.x",  # a counter that may go round: its differences count
    "i / 4", "i / 2", "block",  # numbers of Philox's blocks, which dropout checks
    "*args.step", "*args.step >> 32",  # the halves of 64 bits
    "(at(q) - q) / 4", "(at(odd ? 2 : 0) - (odd ? 2 : 0)) / 4",
    "__cvta_generic_to_shared(row)",
    "nan ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16",  # bfloat16
}  # fmt: skip


@pytest.mark.parametrize("name", [*FOLDERS, *SHARED, *SLICED])
def test_offsets_have_64_bits(name):
    """A count or an offset (i64) becomes a number of 32 bits nowhere: not by assignment, and by a cast only where it is small."""
    for table in all_tables(name):
        check(table)


def all_tables(name):
    """The table of a folder, and those for tensor cores and for one query."""
    if name != "attention":
        return [tables(name)]
    with gpu.emulated():
        module = devices.load("minilm.ops.attention", "gpu")
        return [module.KERNELS, module.ONE_QUERY, module.tensor("bf16", 64)]


def check(table):
    definitions = [f"-D{key}={value}" for key, value in table.definitions("float32").items()]
    command = ["g++", "-std=c++17", "-x", "c++", "-fsyntax-only", "-Wconversion", "-Wno-float-conversion", "-DMINILM_ON_CPU"]
    done = subprocess.run(
        [*command, f"-I{INCLUDE}", "-include", "shim.h", *definitions, "-"],
        input=table.text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    narrowed = [line for line in done.stderr.splitlines() if re.search(r"conversion (from|to) .*(i64|long)", line)]
    assert not [line for line in narrowed if re.search(r"to .(int|u32|unsigned|short)", line)], "\n".join(narrowed)
    assert not re.search(r"blockIdx\.[xyz] \* blockDim", table.text), "a thread's number has 64 bits: i64(blockIdx.x) * ..."
    for found in CAST.finditer(table.text):
        cast = unpacked(table.text, found.end())
        assert cast in SMALL, f"{table.path.name}: {found[0]}{cast})"


def test_words_that_several_streams_train_are_moved_by_atomic_additions():
    """With additions that do nothing, nothing moves: so each addition to the tables is one of them."""
    rng = np.random.default_rng(0)
    V, D = 7, 40
    ids, starts = rng.integers(0, V, 30), np.array([0, 10, 20, 30])
    tables_ = np.ones(V), np.ones(V), np.arange(V)
    before = [rng.standard_normal((V, D)).astype(np.float32) for _ in range(2)]
    with gpu.emulated():
        table = devices.load("minilm.ops.negative_sampling", "gpu").KERNELS
        whole = table.text
        try:
            for text, moves in ((whole, True), (whole.replace("atomicAdd(x, by)", "(void)0"), False)):
                table.text = text
                type(table).function.cache_clear()
                W = devices.to_device([array.copy() for array in before])
                given = devices.to_device((ids, starts, *tables_))
                options = {"cbow": False, "window": 2, "negatives": 2, "lr": 0.1, "lr_end": 0.1, "seed": 1, "total": 30}
                ops.negative_sampling.train(*W, *given, **options, streams=3)
                for now, then in zip(devices.to_host(W), before, strict=True):
                    assert np.array_equal(now, then) != moves
        finally:
            table.text = whole
            type(table).function.cache_clear()


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_file_lists_its_versions(folder):
    """The head of gpu.cu has each version of the op, and where there is one only, says so."""
    with gpu.emulated():
        module = devices.load(f"minilm.ops.{folder}", "gpu")
    head = module.KERNELS.path.read_text().partition("#include")[0]
    versions = range(1, max(getattr(module, "VERSIONS", {"": 0}).values()) + 1)
    assert all(f"version {number} " in head for number in versions), head
    assert versions or "one version" in head.lower(), head
