"""Does it cost anything to import PyTorch beside minilm? Training steps of each library alone, and beside the other.

Both bring threads of their own, and two pools that spin against each other can be many times slower than one alone. Every
measurement has a fresh process; "beside" means that the other library was imported and took a step of its own before.
Processes take turns, and a ratio is that of two medians, so that a slow minute of the machine falls on all alike.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from benchmarks.fresh import measured

LIBRARIES = ("minilm", "torch")
SHAPES = {"LSTM": ((2, 3, 4, 4), (32, 64, 256, 256)), "GRU": ((2, 3, 4, 4), (32, 64, 256, 256))}  # (B, T, D, H)
ROUNDS = 5
SECONDS = 2.0
ALLOWED = 1.1  # that two runs of the same thing differ by on a shared machine


def child(library: str, subject: str, beside: bool, quick: bool, threads: int | None) -> float:
    """Median seconds of a step in this process."""
    from benchmarks.memory import maker

    tiny, full = SHAPES[subject]
    if beside:
        maker(next(other for other in LIBRARIES if other != library), subject, tiny, quick, threads)()()
    step = maker(library, subject, tiny if quick else full, quick, threads)()
    times, end = [], time.perf_counter() + (0.05 if quick else SECONDS)
    while time.perf_counter() < end or len(times) < 4:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return float(np.median(times[len(times) // 3 :]))  # the first third warms up


def report(names: list[str], *, quick: bool, peers: bool, threads: int | None, json_path: str | None) -> int:
    """Measure and print the table; the exit status."""
    import importlib.util

    from benchmarks.names import known
    from benchmarks.report import aligned

    if not peers or importlib.util.find_spec("torch") is None:
        print("beside: needs PyTorch, which is not installed (extra `peers`); nothing was measured", file=sys.stderr)
        return 0
    rows, results = [], []
    for subject in known(names, SHAPES) or list(SHAPES):
        times: dict[tuple[str, bool], list[float]] = {(library, beside): [] for library in LIBRARIES for beside in (False, True)}
        for _ in range(1 if quick else ROUNDS):
            for library, beside in times:
                times[library, beside].append(measured("benchmarks.beside", library, subject, beside, quick, threads))
        for library in LIBRARIES:
            ratio = float(np.median(times[library, False]) / np.median(times[library, True]))
            verdict = "" if quick else "not slower" if ratio * ALLOWED > 1 else "SLOWER"
            rows.append([subject, library, f"{ratio:.2f}", verdict])
            results.append({"subject": subject, "library": library, "speed_beside_over_alone": ratio})
    print("\n".join(aligned(["training step", "library", "speed beside the other / alone", ""], rows)))
    if json_path:
        with open(json_path, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)
    return 0


if __name__ == "__main__":
    print(child(*json.loads(sys.argv[1])))
