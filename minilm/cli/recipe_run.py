"""`minilm evaluate` of a recipe's run: its metrics."""

from __future__ import annotations

import json

from minilm.cli.model import folder_of, quantize

__all__ = ["evaluate", "metric_rows", "print_rows"]

OF_TEXTS = ("corpus", "lines", "errors")  # options of `evaluate` that only language models have


def evaluate(args) -> int:
    """Print what a recipe's model reaches on the run's own data, or on those at --data."""
    from minilm import recipes
    from minilm.recipes import measuring

    for name in OF_TEXTS:
        if getattr(args, name) is not None:
            hint = "; --data PATH names data for it" if name == "corpus" else ""
            raise ValueError(f"--{name} is for language models, and {folder_of(args)} holds a recipe's run{hint}")
    if args.dynamic:
        raise ValueError(f"--dynamic is for language models, and {folder_of(args)} holds a recipe's run")
    recipe = recipes.open_run(folder_of(args), args.device)
    quantize(recipe.model, args)
    measured = measuring.measure(recipe, folder_of(args), args.data, args.split)
    if args.json:
        print(json.dumps({"run": folder_of(args), "recipe": recipe.name, **measured._asdict()}, ensure_ascii=False, indent=2))
        return 0
    rows = {"data": f"{measured.data}, {measured.split}: {measured.examples:,} examples"}
    print_rows(rows | metric_rows(recipe, measured))
    return 0


def metric_rows(recipe, result) -> dict[str, str]:
    """What is printed of the metrics of a `Result` or `Measured`."""
    rows = {}
    for name, value in result.metrics.items():
        beside = f"   (a guess: {result.chance:.4f})" if name == recipe.metric else ""
        rows[name.replace("_", " ")] = f"{value:.4f}{beside}"
    return rows


def print_rows(rows: dict[str, str]) -> None:
    """Print names and values, the values one below the other."""
    width = max(14, 2 + max(map(len, rows)))
    for name, value in rows.items():
        print(f"{name:<{width}}{value}")
