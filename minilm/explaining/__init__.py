"""Explanation: what a language model expected, where it looked, what it kept in its cells, and which tokens moved it.

::

    from minilm import explaining, training

    run = training.load_run("runs/stories-lstm-1")
    found = explaining.explain(run.model, run.tokenizer, "The fox ran home.")
    found.surprisal.bits, found.attribution.values          # arrays
    explaining.write_page(found, "fox.html")                # one file that opens offline
    explaining.write_plots(found, "plots")                  # PNG

and each by itself, from ids: `surprisal`, `attention_weights`, `rollout`, `gradient_x_input`, `integrated_gradients`, `traces`,
`logit_lens`, `nearest`.
"""

from minilm.explaining.attention import attention_weights, rollout
from minilm.explaining.attribution import Attribution, gradient_x_input, integrated_gradients
from minilm.explaining.explanation import Explanation, explain
from minilm.explaining.lens import Lens, logit_lens
from minilm.explaining.neighbours import nearest
from minilm.explaining.page import page, write_page
from minilm.explaining.plots import write_plots
from minilm.explaining.surprisal import Surprisal, surprisal
from minilm.explaining.traces import Traces, traces

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
