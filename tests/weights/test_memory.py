"""Loading and saving take little memory beside the weights themselves."""

import os
import subprocess
import sys

import pytest

from tests import clocks

PROGRAM = r"""
import re, sys, types
import numpy as np
from minilm.layers import Parameter, Parameters
from minilm.weights import GPT2, load_weights, save_weights

def memory(kind):  # of this process alone; ru_maxrss begins with the parent's
    return int(re.search(rf"{kind}:\s+(\d+) kB", open("/proc/self/status").read())[1]) * 1024

def rows(name):
    return 1024, 4096 if "c_fc" in name else 1024

what, folder = sys.argv[1:]
names = [f"h.{i}.{part}.weight" for i in range(8) for part in ("mlp.c_fc", "attn.c_proj")]
model = types.SimpleNamespace(parameters=Parameters((name, Parameter(np.ones(rows(name), np.float32))) for name in names))
size = model.parameters.count * 4
model.parameters.flat
before = memory("VmRSS")  # the weights are in it
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
if what == "save":
    save_weights(model, folder, GPT2)
else:
    model.parameters.flat[...] = 0
    load_weights(model, folder, GPT2)
    assert all(array.min() == array.max() == 1 for array in model.parameters.values())
print((memory("VmHWM") - before + size) / size)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="reads the peak of a process's memory from /proc")
def test_peak_is_at_most_1_2_times_the_weights(tmp_path):
    for what in ("save", "load"):
        options = {"capture_output": True, "text": True, "timeout": clocks.PATIENCE}
        done = subprocess.run([sys.executable, "-c", PROGRAM, what, str(tmp_path / "model")], **options)
        assert done.returncode == 0, done.stderr
        assert 1 <= float(done.stdout) <= 1.2, what
