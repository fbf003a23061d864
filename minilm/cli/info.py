"""`minilm info`: what minilm runs on, for a bug report, or next to a measured time."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform

import numpy as np

import minilm
from minilm import devices, ops
from minilm.cache_folders import cache_folder

FEATURES = "sse4.2 avx avx2 fma f16c avx512f avx512bf16 amx-bf16 amx-int8 neon dotprod sve sve2 bf16".split()
BYTES = {"vnni": "VNNI (vpdpbusd)", "maddubs": "vpmaddubsw", "madd": "vpmaddwd", "sdot": "sdot", "plain": "plain multiplications"}
INSTRUCTIONS = {"avx512_bf16": "vdpbf16ps (AVX512-BF16)", "amx": "tdpbf16ps (AMX)"}
OPTIONAL = {  # distribution -> what it is for
    "cupy-cuda13x": "GPU",
    "cupy-cuda12x": "GPU",
    "cupy": "GPU",
    "matplotlib": "loss.png",
    "mpi4py": "several processes",
    "torch": "parity tests and benchmarks",
}
VARIABLES = (
    "MINILM_THREADS",
    "MINILM_ISA",
    "MINILM_CACHE",
    "MINILM_DEBUG",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "NUMBA_DISABLE_JIT",
)


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "info",
        help="what minilm runs on: versions, BLAS, threads, caches",
        description="Print versions, processor, BLAS, threads, caches, implementations and optional packages.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Print a table, or one JSON object."""
    sections = collect()
    if args.json:
        print(json.dumps(sections, indent=2))
        return 0
    for name, value in sections.items():
        lines = [f"{key}: {each}" for key, each in value.items()] if isinstance(value, dict) else [str(value)]
        for i, line in enumerate(lines or ["none"]):
            print(f"{name if i == 0 else '':<16} {line}")
    return 0


def collect() -> dict:
    """All that `minilm info` prints: strings, numbers, and dicts of them."""
    return {
        "minilm": minilm.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        "processor": _processor(),
        "threads": devices.threads(),
        "numpy": np.__version__,
        "blas": _blas(),
        **{name: _version(name) or "missing" for name in ("numba", "llvmlite", "safetensors", "tqdm")},
        "implementations": _implementations(),
        "caches": _caches(),
        "optional": {name: f"{_version(name) or 'not installed'} ({use})" for name, use in OPTIONAL.items()},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def _version(distribution: str) -> str | None:
    """The installed version, without importing anything."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> dict:
    facts: dict = {"machine": platform.machine()}
    with contextlib.suppress(ImportError):
        import llvmlite.binding

        features = llvmlite.binding.get_host_cpu_features()
        facts["name"] = llvmlite.binding.get_host_cpu_name()
        facts["features"] = " ".join(name for name in FEATURES if features.get(name))
    with contextlib.suppress(ImportError):
        from minilm.compiled import isa
        from minilm.ops import target

        facts["levels"] = f"{' '.join(isa.possible())} (MINILM_ISA forces a lower one)"
        facts["compiled for"] = target.described()
        facts["vector"] = f"{target.vector_bytes()} bytes, {target.vector_bytes() // 4} float32"
        facts["multiply-add"] = "rounded once (FMA)" if target.has_fma() else "rounded twice (no FMA), so other last bits"
        facts["bfloat16"] = _bfloat16(target)
        tiles = "tdpbsud (AMX), of what is less than 32 rows by " if target.int8_tiles() else ""
        facts["int8"] = f"products by {tiles}{BYTES[target.int8_instructions()]}"
    facts["cores"] = os.cpu_count()
    return facts


def _bfloat16(target) -> str:
    """What multiplies under ``precision="bf16"``, or why nothing does: results' last bits depend on it."""
    try:
        return f"products by {INSTRUCTIONS[target.bfloat16_unit()]}"
    except ValueError as error:
        return str(error)


def _blas() -> dict:
    try:
        built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    except (TypeError, KeyError):  # a NumPy built in an unusual way
        return {"name": "unknown"}
    entries = {
        key: str(built[entry])
        for key, entry in (("name", "name"), ("version", "version"), ("configuration", "openblas configuration"))
        if built.get(entry)
    }
    # where np.matmul still stands: `models.bags`, `reader` and `memory_network`, and `sequential.stepwise`
    products = "in bags of words, readers, memory networks and Keras's layers with options of their own"
    return entries | {"multiplies": f"{products}; the last bits of these depend on it and its threads, all others on neither"}


def _implementations() -> dict:
    """How many ops have each implementation, and which GPU there is, or what it lacks."""
    root = pathlib.Path(ops.__file__).parent
    folders = [root / folder for folder in ops.FOLDERS]
    count = {name: sum((folder / f"{name}.py").is_file() for folder in folders) for name in ("oracle", "cpu", "gpu")}
    counts = {name: f"{count[name]} of {len(folders)} ops" for name in ("oracle", "cpu")}
    return counts | {"gpu": f"{count['gpu']} of {len(folders)} ops; {devices.gpu_status().reason}"}


def _caches() -> dict:
    """The folders, and their sizes."""
    folder = pathlib.Path(cache_folder())
    facts = {"folder": str(folder)}
    parts = {"jit": "compiled kernels", "corpora": "corpora", "tokens": "encoded texts", "tables": "tokenizers' tables"}
    parts["emulated"] = "CUDA kernels on the CPU"
    for part, name in parts.items():
        if (folder / part).is_dir():
            sizes = [path.stat().st_size for path in (folder / part).rglob("*") if path.is_file()]
            facts[name] = f"{folder / part}, {len(sizes)} files, {sum(sizes) / 2**20:.1f} MiB"
    return facts
