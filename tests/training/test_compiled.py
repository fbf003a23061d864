"""A process that compiles its kernels and one that finds them compiled compute the same bits: else no resume could be exact."""

import os
import subprocess
import sys

TRAIN = """
import sys
from minilm import training
for cell in ("rnn", "gru", "lstm"):
    model = {"cell": cell, "embedding_size": 6, "hidden_size": 10, "dropout": 0.2}
    options = {"corpus": sys.argv[1], "steps": 4, "batch": 4, "time": 16, "model": model, "sample": {"tokens": 0}}
    run = training.train(training.configuration(options=options), out=f"{sys.argv[2]}/{cell}")
    print(cell, run.model.parameters.flat.tobytes().hex(), run.evaluation.loss)
"""


def test_compiled_anew_and_from_the_cache(corpus, tmp_path):
    environment = {**os.environ, "MINILM_CACHE": str(tmp_path / "cache")}
    printed = []
    for name in ("compiles", "finds them"):
        command = [sys.executable, "-c", TRAIN, corpus, str(tmp_path / name)]
        printed.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines())
    assert len(printed[0]) == 3
    assert [fresh.split()[0] for fresh, kept in zip(*printed, strict=True) if fresh != kept] == []
