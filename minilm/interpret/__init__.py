"""Interpretation of a language model: what it expected, where it attended, what its cells kept, and which tokens moved it.

::

    from minilm import interpret, training

    run = training.load_run("runs/stories-lstm-1")
    explanation = interpret.explain(run.model, run.tokenizer, "The fox ran home.")
    explanation.surprisal.bits, explanation.integrated_gradients.values          # arrays
    interpret.write_page(explanation, "fox.html")          # one file that opens offline
    interpret.write_plots(explanation, "plots")            # PNG

and each by itself, from ids: `surprisal`, `attention_weights`, `rollout`, `gradient_x_input`, `integrated_gradients`, `traces`,
`logit_lens`, `nearest`.

What a part of a model causes, a head, a neuron, a gate or a unit: `ablate`, `patch`, `attribution_patching`; of a Transformer
also `logit_attribution`, `head_scores`; what can be read off its activations (`minilm.hooks`): `linear_probe`. Both along a run's
checkpoints: `along`. Two models side by side: `compare`. Models of tasks, their labels, tags, translations and answers:
`minilm.interpret.tasks`.
"""

from minilm.interpret import tasks
from minilm.interpret.along import Along, along, write_along_plot
from minilm.interpret.attention_maps import attention_weights, rollout
from minilm.interpret.attribution import Attribution, gradient_x_input, integrated_gradients
from minilm.interpret.causes import Causes, causes
from minilm.interpret.comparison import Comparison, compare
from minilm.interpret.direct import LogitAttribution, logit_attribution
from minilm.interpret.explanation import Explanation, explain
from minilm.interpret.head_scores import HeadScores, head_scores
from minilm.interpret.html_page import page, write_page
from minilm.interpret.lens import Lens, logit_lens
from minilm.interpret.linear_probe import LinearProbe, linear_probe
from minilm.interpret.neighbours import nearest
from minilm.interpret.patching import Ablation, Patching, ablate, attribution_patching, patch
from minilm.interpret.plots import write_plots
from minilm.interpret.surprisal import Surprisal, surprisal
from minilm.interpret.traces import Traces, traces

__all__ = [
    "Ablation",
    "Along",
    "Attribution",
    "Causes",
    "Comparison",
    "Explanation",
    "HeadScores",
    "Lens",
    "LinearProbe",
    "LogitAttribution",
    "Patching",
    "Surprisal",
    "Traces",
    "ablate",
    "along",
    "attention_weights",
    "attribution_patching",
    "causes",
    "compare",
    "explain",
    "gradient_x_input",
    "head_scores",
    "integrated_gradients",
    "linear_probe",
    "logit_attribution",
    "logit_lens",
    "nearest",
    "page",
    "patch",
    "rollout",
    "surprisal",
    "tasks",
    "traces",
    "write_along_plot",
    "write_page",
    "write_plots",
]


def __dir__() -> list[str]:
    return sorted(__all__)
