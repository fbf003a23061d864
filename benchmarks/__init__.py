"""Speed and memory of minilm beside its oracle and its peers, measured in one run: ``python -m benchmarks``.

=================  ====================================================================================
``__main__``       the command line
``machine``        what the machine itself can do: matrix products and memory, the two roofs
``timing``         contestants, rounds, medians and quartiles
``case``           one line of the table: how it is built, checked, timed and judged
``cases_ops``      every op of the registry at sizes that matter
``cases_models``   training steps of whole layers and models, generation; those of GPT are in ``cases_transformers``,
                   of encoder-decoders in ``cases_translation``
``peers``          the same ops in PyTorch, as a user of PyTorch would write them
``peer_models``    the same training steps in PyTorch
``memory``         peak memory of a training step, each library in a process of its own
``report``         table, JSON, CSV, plot
=================  ====================================================================================
"""
