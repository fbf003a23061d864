"""Speed and memory of minilm beside its oracle and its peers, measured in one run: ``python -m benchmarks``.

================  =====================================================================================================
``__main__``      the command line
``suites``        which suites there are, and which of their cases are meant
``cases_*``       the cases of each suite: the pages to extend
``peer_*``        the same computations in other libraries, as their users would write them
``peers``         which peers there are, their versions, and why one is missing
``case``          one line of the table: how it is built, checked, timed and judged
``timing``        contestants, rounds, medians and quartiles
``disturbance``   was the machine quiet: other processes, the host, control kernels
``machine``       what the machine can do, from ``roofs``; ``gpu`` is its like for a GPU
``run``           a run: rows as they come
``record``        what a run leaves; read again by ``compare``, ``readme`` and ``plots``
``report``        the table
``profiling``     where a step's time goes, by op
``board``         tasks in a budget of minutes
================  =====================================================================================================
"""
