"""The explanation as PNG plots, by matplotlib."""

from __future__ import annotations

import numpy as np

from minilm.interpret.explanation import Explanation
from minilm.interpret.figures import MOST_LABELS, label_axis, printable, wide, write_figures
from minilm.interpret.tasks.decisions import Decisions
from minilm.typing import PathLike

__all__ = ["write_plots"]


def write_plots(explanation: Explanation | Decisions, folder: PathLike) -> list[str]:
    """Write a plot for every part of the explanation that there is.

    Parameters
    ----------
    explanation : Explanation, or Decisions
        The second as `minilm.interpret.task_plots` draws it.
    folder : str or os.PathLike
        Made if it is not there.

    Returns
    -------
    list of str
        The files: surprisal.png, attribution.png, then attention.png, rollout.png and lens.png, or traces.png.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    if isinstance(explanation, Decisions):
        from minilm.interpret.task_plots import write_task_plots

        return write_task_plots(explanation, folder)
    names = [printable(token) for token in explanation.tokens]
    parts = {"surprisal": _surprisal, "attribution": _attribution, "attention": _attention, "rollout": _rollout}
    parts |= {"lens": _lens, "traces": _traces}
    return write_figures(folder, parts, explanation, names)


def _surprisal(figure, explanation, names):
    T = len(names)
    figure.set_size_inches(wide(T), 3)
    axes = figure.subplots()
    axes.bar(range(T), np.nan_to_num(explanation.surprisal.bits), color="C1")
    axes.set(ylabel="surprisal (bits)", xlim=(-0.7, T - 0.3))
    axes.set_title(f"{explanation.surprisal.total:.1f} bits, {explanation.surprisal.mean:.3f} a token", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    label_axis(axes.xaxis, names)


def _attribution(figure, explanation, names):
    both = (("integrated gradients", explanation.integrated_gradients), ("gradient x input", explanation.gradient_x_input))
    rows = [len(each.places) for _, each in both]
    T = len(names)
    figure.set_size_inches(wide(T), sum(min(8, 1.2 + 0.2 * n) for n in rows))
    every = figure.subplots(2, 1, height_ratios=[min(8, 1.2 + 0.2 * n) for n in rows])
    for axes, (title, each) in zip(every, both, strict=True):
        most = np.maximum(np.abs(each.values).max(axis=1, keepdims=True), 1e-12)  # (N, 1)
        picture = axes.imshow(each.values / most, cmap="RdBu", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
        worst = np.abs(each.errors).max()
        complete = "" if np.isnan(worst) else f", complete within {worst:.1e} nats"
        axes.set_title(f"{title}: each row divided by its largest{complete}", loc="left", fontsize=10)
        axes.set_ylabel("predicted")
        label_axis(axes.xaxis, names)
        label_axis(axes.yaxis, [names[place] if place < T else "next" for place in each.places])
    bar = figure.colorbar(picture, ax=list(every), pad=0.01, shrink=0.5 if sum(rows) > 40 else 0.9)
    bar.set_label("red: less probable, blue: more", fontsize=8)


def _attention(figure, explanation, names):
    if explanation.attention is None:
        return False
    L, H, T, _ = explanation.attention.shape
    figure.set_size_inches(max(4, 1.7 * H), max(3, 1.8 * L))
    every = figure.subplots(L, H, squeeze=False)
    for layer in range(L):
        for head in range(H):
            axes = every[layer][head]
            picture = axes.imshow(explanation.attention[layer, head], cmap="Purples", norm=_weights(), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=8)
    figure.colorbar(picture, ax=every, shrink=min(1, 2 / L), label="weight")
    return True


def _rollout(figure, explanation, names):
    if explanation.rollout is None:
        return False
    size = min(14, max(4, 1.5 + 0.2 * len(names)))
    figure.set_size_inches(size, size)
    axes = figure.subplots()
    picture = axes.imshow(explanation.rollout, cmap="Purples", norm=_weights(), interpolation="nearest")
    figure.colorbar(picture, ax=axes, pad=0.01, shrink=0.5, label="share")
    axes.set_title("attention rollout: row from columns", loc="left", fontsize=10)
    label_axis(axes.xaxis, names)
    label_axis(axes.yaxis, names)
    return True


def _lens(figure, explanation, names):
    if explanation.lens is None:
        return False
    lens = explanation.lens
    L, T = lens.final_probability.shape
    words = [[printable(explanation.spellings[int(id)])[:9] for id in row] for row in lens.top_ids[..., 0]]  # L + 1 rows of T
    letters = max(len(word) for row in words for word in row)
    figure.set_size_inches(min(30, max(6, 1.5 + (0.16 + 0.075 * letters) * T)), 1.2 + 0.36 * L)
    axes = figure.subplots()
    options = {"cmap": "Purples", "vmin": 0, "vmax": 1, "aspect": "auto", "origin": "lower", "interpolation": "nearest"}
    figure.colorbar(axes.imshow(lens.final_probability, **options), ax=axes, pad=0.01, label="probability")
    for layer in range(L):
        for t in range(T if T <= MOST_LABELS else 0):
            dark = lens.final_probability[layer, t] > 0.6
            axes.text(
                t,
                layer,
                words[layer][t],
                ha="center",
                va="center",
                fontsize=7,
                color="white" if dark else "black",
                parse_math=False,
            )
    axes.set_yticks(range(L), lens.layers, fontsize=8)
    axes.set_title("logit lens: probability of the last layer's choice", loc="left", fontsize=10)
    label_axis(axes.xaxis, names)
    return True


def _traces(figure, explanation, names):
    if explanation.traces is None:
        return False
    values = explanation.traces.values
    L, T, _ = next(iter(values.values())).shape
    figure.set_size_inches(wide(T) * min(2, L), 1.9 * len(values))
    every = figure.subplots(len(values), L, squeeze=False)
    for row, (name, value) in enumerate(values.items()):
        for layer in range(L):
            axes = every[row][layer]
            gate = "gate" in name
            high = 1.0 if gate else max(1.0, float(np.abs(value).max()))
            picture = axes.imshow(
                value[layer].T, cmap="Purples" if gate else "RdBu", vmin=0 if gate else -high, vmax=high, aspect="auto",
                interpolation="nearest",
            )  # fmt: skip
            axes.set_title(f"{name}, layer {layer + 1}", loc="left", fontsize=9)
            axes.set_ylabel("unit", fontsize=8)
            figure.colorbar(picture, ax=axes, pad=0.01)
            label_axis(axes.xaxis, names if row == len(values) - 1 else [""] * T)
    return True


def _weights():
    """Shares from 0 to 1 by their square root, as the page shows them: most are small."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, 0, 1)
