"""Tests of `minilm.distributed`, and of training on several processes, which mpiexec starts."""
