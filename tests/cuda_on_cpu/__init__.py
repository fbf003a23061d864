"""Tests of `minilm.ops.cuda.emulated`, which runs CUDA kernels on the CPU, and what only tests need: NVRTC, the sanitizers."""

from minilm.ops.cuda import emulated as fake_cupy
from minilm.ops.cuda.emulated import loader

__all__ = ["fake_cupy", "loader"]
