"""Explanation: what a language model expected, where it looked, what it kept in its cells, and which tokens moved it.

::

    from minilm import interpret, training

    run = training.load_run("runs/stories-lstm-1")
    found = interpret.explain(run.model, run.tokenizer, "The fox ran home.")
    found.surprisal.bits, found.attribution.values          # arrays
    interpret.write_page(found, "fox.html")                # one file that opens offline
    interpret.write_plots(found, "plots")                  # PNG

and each by itself, from ids: `surprisal`, `attention_weights`, `rollout`, `gradient_x_input`, `integrated_gradients`, `traces`,
`logit_lens`, `nearest`.
"""

from minilm.interpret.attention_maps import attention_weights, rollout
from minilm.interpret.attribution import Attribution, gradient_x_input, integrated_gradients
from minilm.interpret.explanation import Explanation, explain
from minilm.interpret.html_page import page, write_page
from minilm.interpret.lens import Lens, logit_lens
from minilm.interpret.neighbours import nearest
from minilm.interpret.plots import write_plots
from minilm.interpret.surprisal import Surprisal, surprisal
from minilm.interpret.traces import Traces, traces

__all__ = [
    "Attribution",
    "Explanation",
    "Lens",
    "Surprisal",
    "Traces",
    "attention_weights",
    "explain",
    "gradient_x_input",
    "integrated_gradients",
    "logit_lens",
    "nearest",
    "page",
    "rollout",
    "surprisal",
    "traces",
    "write_page",
    "write_plots",
]


def __dir__() -> list[str]:
    return sorted(__all__)
