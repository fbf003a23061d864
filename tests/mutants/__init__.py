"""Planted faults: do the tests notice? ::

    python -m tests.mutants                     all of the list, by area (half an hour on two cores)
    python -m tests.mutants cpu training        some areas
    python -m tests.mutants --sample 10 --seed 3
    python -m tests.mutants --list

Each fault of `tests.mutants.faults` is one changed place of the sources, planted in a copy of the tree, and the tests that should
notice it are run there until the first that fails. What is missed is a hole in the tests: the share that is caught is to be at
least 95 %, the rest explained. (`tests/ops/mutants.py` is the other kind: every operator of the oracles' backward functions,
within one process.)
"""
